"""Who puts events on topics: the producer, replay of files, real weather and a simulator with known truth."""
