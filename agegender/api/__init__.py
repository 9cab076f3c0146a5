"""The steps from one artefact to the next, assembled from the parts below; commands parse, call a stage, and print."""
