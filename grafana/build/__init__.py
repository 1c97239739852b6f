"""The dashboards as code; ``python -m grafana.build`` writes their JSON."""
