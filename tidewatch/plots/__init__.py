"""Figures of distributions, alerts and lag."""
