"""One program a system: each drains a topic to the same windows and writes their results."""
