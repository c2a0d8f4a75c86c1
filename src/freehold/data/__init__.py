"""Examples, their formats, splits and chat templates."""
