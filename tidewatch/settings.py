"""Settings from ``TIDEWATCH_*`` environment variables (or a ``.env`` file), validated once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidewatch.paths import state_directory


class NoKafkaError(Exception):
    """Neither is ``TIDEWATCH_BOOTSTRAP`` set nor does a local Kafka run."""


class Settings(BaseSettings):
    """What differs between machines; what belongs to a pipeline is declared in the pipeline.

    Every field is read from its upper-case name with the prefix ``TIDEWATCH_``. Unknown variables are left alone, since
    tests and tools use the same prefix.
    """

    model_config = SettingsConfigDict(env_prefix="TIDEWATCH_", env_file=".env", extra="ignore")

    bootstrap: str | None = Field(
        default=None, description="Kafka to use, host:port[,host:port]; else the local one"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = Field(
        default=None, description="how to talk to the brokers; PLAINTEXT unless told"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None = (
        Field(default=None, description="SASL mechanism")
    )
    sasl_username: str | None = Field(default=None, description="SASL user name")
    sasl_password: SecretStr | None = Field(default=None, description="SASL password; never printed")
    ssl_ca_location: Path | None = Field(default=None, description="file of certificates to trust")
    ssl_certificate_location: Path | None = Field(default=None, description="this client's certificate")
    ssl_key_location: Path | None = Field(default=None, description="this client's private key")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="password of the private key; never printed"
    )

    state_dir: Path = Field(
        default_factory=state_directory, description="where the local Kafka keeps its data"
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of worker metrics; 0 takes a free one"
    )
    metrics_host: str = Field(default="127.0.0.1", description="address on which worker metrics are served")
    takeover_after: float = Field(
        default=10.0,
        ge=0.0,
        description="seconds that records wait for a worker that trails until another takes its partitions; 0: for ever",
    )
    standbys: int = Field(
        default=0, ge=0, description="how many other workers keep a copy of each partition's state"
    )
    standby_bytes: int = Field(
        default=1 << 30, ge=0, description="bytes of such copies a worker holds at most"
    )
    maven_repository: str | None = Field(
        default=None, description="Maven mirror to fetch the local Kafka's jars from"
    )
    postgres_dsn: SecretStr | None = Field(
        default=None, description="PostgreSQL for results, postgresql://user:password@host/db; never printed"
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="web service to post alerts to; never printed"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="secret that signs webhook requests; never printed"
    )
    checkpoint_keys: SecretStr | None = Field(
        default=None,
        description="keys that seal checkpoints about patients, base64, comma-separated, newest first; never printed",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="what workers log"
    )

    @field_validator("bootstrap", "security_protocol", "sasl_mechanism", "maven_repository", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    def connection(self) -> dict[str, str]:
        """Return librdkafka's settings to connect to the configured Kafka, else to the local one that runs.

        Holds passwords in clear: do not log it. Raises NoKafkaError when there is no Kafka to connect to.
        """
        bootstrap = self.bootstrap
        if bootstrap is None:
            local = self._local_bootstrap()
            if local is None:
                raise NoKafkaError(
                    "No Kafka: start one with `tidewatch broker start` or set TIDEWATCH_BOOTSTRAP."
                )
            return {"bootstrap.servers": local}
        return {"bootstrap.servers": bootstrap} | self._security()

    def _security(self) -> dict[str, str]:
        options: dict[str, object] = {
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password,
        }
        return {name: _plain(value) for name, value in options.items() if value is not None}

    def _local_bootstrap(self) -> str | None:
        from tidewatch.broker.daemon import status

        running = status(self.state_dir)
        return running.bootstrap if running is not None else None


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def to_markdown() -> str:
    """Return the table of all settings, as the README shows it."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        if name == "state_dir":
            default = "`~/.local/state/tidewatch`"
        rows.append(f"| `TIDEWATCH_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_markdown())
