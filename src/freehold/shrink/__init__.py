"""Model and budget to smaller model."""
