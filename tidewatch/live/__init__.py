"""What is going on right now: results, workers and lag, folded into one snapshot that views show."""
