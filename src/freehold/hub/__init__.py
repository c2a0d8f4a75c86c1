"""Repositories of models without a web server: names, commits, blobs, users, permissions, search."""
