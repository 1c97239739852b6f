"""Signals measured: speed of the measures, and what sequential monitoring promises, in simulation."""
