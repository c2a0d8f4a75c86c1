"""A stored model made ready to run: in the form that engines read, with its base and adapter."""
