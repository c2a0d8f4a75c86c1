"""What listens: the inference server, the hub and what both stand on."""
