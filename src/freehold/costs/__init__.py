"""Time, energy, carbon and money."""
