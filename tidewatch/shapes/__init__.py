"""Pictures of distributions over time, from a topic or a file."""
