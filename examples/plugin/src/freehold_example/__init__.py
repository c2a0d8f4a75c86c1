"""An example of a Freehold plugin: a source, a metric, an engine and a scanner."""
