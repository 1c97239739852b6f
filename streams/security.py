"""How to be let in by the brokers: librdkafka's security properties, for the clients that are not librdkafka."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.errors import EngineError

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SecurityError(EngineError):
    """The brokers do not let this client in, or the settings ask for what it cannot do."""


@dataclass(frozen=True, slots=True)
class Security:
    """TLS if ``context`` is there, SASL if ``mechanism`` is."""

    context: ssl.SSLContext | None = None
    mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


def security_of(connection: Mapping[str, str | int | bool]) -> Security:
    """Translate librdkafka's properties.

    Raises:
        SecurityError: the mechanism is none of ``MECHANISMS``.
    """
    protocol = str(connection.get("security.protocol", "PLAINTEXT")).upper()
    context = _context(connection) if protocol.endswith("SSL") else None
    if not protocol.startswith("SASL"):
        return Security(context)
    mechanism = _text(connection, "sasl.mechanism") or _text(connection, "sasl.mechanisms") or "PLAIN"
    if mechanism not in MECHANISMS:
        raise SecurityError(
            f"workers cannot authenticate by {mechanism}; set TIDEWATCH_SASL_MECHANISM to one of {', '.join(MECHANISMS)}"
        )
    username, password = _text(connection, "sasl.username"), _text(connection, "sasl.password")
    return Security(context, mechanism, username or "", password or "")


def _context(connection: Mapping[str, str | int | bool]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_text(connection, "ssl.ca.location"))
    certificate = _text(connection, "ssl.certificate.location")
    if certificate:
        key, password = _text(connection, "ssl.key.location"), _text(connection, "ssl.key.password")
        context.load_cert_chain(certificate, key, password)
    return context


def _text(connection: Mapping[str, str | int | bool], name: str) -> str | None:
    value = connection.get(name)
    return None if value is None else str(value)
