"""Tidewatch measured against its peers: the same events, the same broker, every result checked against a recount."""
