"""Recipe and data to adapter: LoRA on the processor."""
