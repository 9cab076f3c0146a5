"""Which parts of a face a prediction rests on, and how far that can be trusted."""
