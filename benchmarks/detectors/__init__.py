"""Detectors compared at the same rate of false alarms: ``python -m benchmarks.detectors.study PART``."""
