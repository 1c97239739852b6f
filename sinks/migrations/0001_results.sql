-- Window results and alerts by their own ids, so that writing one again changes nothing.

CREATE TABLE tidewatch.window_summary (
    id text PRIMARY KEY,
    pipeline text NOT NULL,
    group_name text NOT NULL,
    labels jsonb NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    revision integer NOT NULL,
    count bigint NOT NULL,
    sum double precision NOT NULL,
    mean double precision NOT NULL,
    variance double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    quantiles jsonb NOT NULL,
    alpha double precision NOT NULL,
    sketch bytea NOT NULL
);
CREATE INDEX window_summary_end ON tidewatch.window_summary USING brin (window_end);

CREATE VIEW tidewatch.window_latest AS
SELECT DISTINCT ON (pipeline, group_name, window_start, window_end) *
FROM tidewatch.window_summary
ORDER BY pipeline, group_name, window_start, window_end, revision DESC;
COMMENT ON VIEW tidewatch.window_latest IS 'The newest revision of each window.';

CREATE TABLE tidewatch.alert (
    id text PRIMARY KEY,
    alert_id text NOT NULL,
    pipeline text NOT NULL,
    rule text NOT NULL,
    kind text NOT NULL,
    group_name text NOT NULL,
    labels jsonb NOT NULL,
    state text NOT NULL,
    severity text NOT NULL,
    revision integer NOT NULL,
    opened_at timestamptz NOT NULL,
    time timestamptz NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    value double precision,
    threshold double precision,
    message text NOT NULL,
    evidence jsonb NOT NULL
);
CREATE INDEX alert_transitions ON tidewatch.alert (alert_id, revision);
CREATE INDEX alert_time ON tidewatch.alert (time);

CREATE VIEW tidewatch.alert_latest AS
SELECT DISTINCT ON (alert_id) *
FROM tidewatch.alert
ORDER BY alert_id, revision DESC;
COMMENT ON VIEW tidewatch.alert_latest IS 'Each alert as it is now; open ones have a state other than close.';
