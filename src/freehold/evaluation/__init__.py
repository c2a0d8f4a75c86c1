"""Task to measurement: metrics, statistics, and the run over the rows."""
