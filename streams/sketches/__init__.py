"""Linear sketches: integer counts over log-spaced bins."""
