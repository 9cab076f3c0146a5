"""Photos as bytes: reading them safely, warping, fingerprints, quality, face detection."""
