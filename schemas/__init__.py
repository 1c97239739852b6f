"""What is on every topic: event types, result types, the topic catalogue and the codec."""
