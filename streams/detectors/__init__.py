"""Online detectors of change and of anomalies: one protocol, one registry."""
