"""Images to predictions: one photo or a table."""
