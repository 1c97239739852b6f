"""Who puts events on topics: the producer, file replay and the simulators."""
