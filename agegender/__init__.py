"""Age and gender from face photos, and honest reports about who the model is wrong about."""

__version__ = "0.1.0"
