"""Whether a model may be used: licences now; scans, signatures and certificates build on it."""
