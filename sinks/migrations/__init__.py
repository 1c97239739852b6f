"""The schema of the PostgreSQL sink, as numbered SQL files that are applied once and never edited."""
