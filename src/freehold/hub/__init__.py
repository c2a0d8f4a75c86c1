"""Names, blobs, catalogue and sources of models."""
