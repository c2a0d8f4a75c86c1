"""Stored models: their files, what is known of them, and the store that keeps them."""
