"""The Numenta Anomaly Benchmark: its data, its scoring, and cross-fitted thresholds."""
