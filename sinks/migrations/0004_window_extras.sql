-- Late rows that were folded in, the times of first and last, and whatever else a pipeline declares.

ALTER TABLE tidewatch.window_summary
    ADD COLUMN late bigint NOT NULL DEFAULT 0,
    ADD COLUMN first_time timestamptz,
    ADD COLUMN last_time timestamptz,
    ADD COLUMN extras jsonb NOT NULL DEFAULT '{}';

CREATE OR REPLACE VIEW tidewatch.window_latest AS
SELECT DISTINCT ON (pipeline, group_name, window_start, window_end) *
FROM tidewatch.window_summary
ORDER BY pipeline, group_name, window_start, window_end, revision DESC;
