"""The command line, the settings, the local Kafka and the demo."""
