"""What stands before every route of a server of ours: names, origins, bodies, connections."""
