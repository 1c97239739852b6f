-- Which silence or maintenance window covers an alert.

ALTER TABLE tidewatch.alert ADD COLUMN muted_by text;

CREATE OR REPLACE VIEW tidewatch.alert_latest AS
SELECT DISTINCT ON (alert_id) *
FROM tidewatch.alert
ORDER BY alert_id, revision DESC;
