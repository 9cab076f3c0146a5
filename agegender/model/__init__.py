"""Body, heads, losses, saving and loading."""
