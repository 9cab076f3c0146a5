"""The public classes: each method is one step from one artefact to the next, assembled from the rooms below."""
