"""The hub's HTTP protocol and pages."""
