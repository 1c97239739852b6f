"""Watches the cluster and the groups from outside the workers, whose own view dies with them."""
