-- Results of every other type, whole; and those that the database refused, so that one bad record stops nothing.

CREATE TABLE tidewatch.result (
    id text PRIMARY KEY,
    topic text NOT NULL,
    body jsonb NOT NULL
);

CREATE TABLE tidewatch.refused (
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (topic, partition, record_offset)
);
COMMENT ON TABLE tidewatch.refused IS 'Records that fit no column, such as a count beyond 64 bits.';
