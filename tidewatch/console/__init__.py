"""The console: one page that shows everything live, and the same as JSON."""
