"""What stands before every route of both servers: host names, origins, bodies, connections."""
