"""The file formats of models: GGUF, safetensors, adapters, and how their tensors are named."""
