"""Where results go: idempotent read_committed consumers of result topics."""
