"""The faces table: its sources, cleaning, splits, derived labels, and the batches that are made of it."""
