"""Training: rows and a recipe to an adapter."""
