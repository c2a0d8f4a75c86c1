"""Quantization: a model and a size to a smaller model."""
