"""The demo: real and simulated input on a real Kafka, workers that get killed, and a recount that judges the results."""
