"""Whether a model may be used: scans, licences, signatures, safety, privacy, certificates, policy."""
