"""What operators see: dashboards, alert rules and their provisioning."""
