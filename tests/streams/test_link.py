"""Being let in: TLS and SASL against a real broker that asks for them."""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streams.consumer import BatchConsumer
from streams.intake import Records
from streams.link import Link, LinkError
from streams.security import Security, SecurityError, security_of
from tests.streams.harness import eventually
from tidewatch.broker import start_brokers
from tidewatch.broker.cluster import free_ports

USER, PASSWORD = "meter", "water, salt=1"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
VALUES = [b"%d" % i * 30 for i in range(2_000)]


def test_settings_are_translated() -> None:
    assert security_of({}) == Security()
    assert security_of({"security.protocol": "ssl"}).context is not None
    let_in = {"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p"}
    assert security_of(let_in) == Security(None, "PLAIN", "u", "p")
    assert "p'" not in repr(security_of(let_in))
    with pytest.raises(SecurityError, match="TIDEWATCH_SASL_MECHANISM to one of PLAIN, SCRAM-SHA-256"):
        security_of({**let_in, "sasl.mechanism": "GSSAPI"})


def test_a_port_where_nobody_listens_is_said() -> None:
    with pytest.raises(LinkError, match=r"no connection to 127\.0\.0\.1:1: "):
        Link("127.0.0.1", 1, Security())


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Write a key and a certificate of its own for the loopback address, as a keystore and as what to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, store = directory / "trusted.pem", directory / "store.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store.write_bytes(private + trusted.read_bytes())
    return store, trusted


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A broker that lets in by TLS and a password; the connection is without mechanism and password."""
    store, trusted = _certificate(tmp_path_factory.mktemp("keys"))
    ports, more = free_ports(2)
    client, controller, secured = ports.client, ports.controller, more.client
    credentials = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},SECURED://127.0.0.1:{secured}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client},SECURED://127.0.0.1:{secured}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.secured.plain.sasl.jaas.config": f"{PLAIN} required {credentials};",
        "listener.name.secured.scram-sha-256.sasl.jaas.config": f"{SCRAM} required;",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
    }
    with start_brokers(ports=[ports], overrides=overrides) as kafka:
        admin = AdminClient(kafka.connection)
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            user = UserScramCredentialUpsertion(
                USER, ScramCredentialInfo(mechanism, 4096), password=PASSWORD.encode()
            )
            admin.alter_user_scram_credentials([user])[USER].result(30)
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result(30)
        producer = Producer(kafka.connection)
        for value in VALUES:
            producer.produce("t", value, partition=0)
        producer.flush(30)
        yield {
            "bootstrap.servers": f"127.0.0.1:{secured}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(trusted),
            "sasl.username": USER,
        }


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_records_come_through_a_guarded_door(guarded: dict[str, Any], mechanism: str) -> None:
    reader = BatchConsumer({**guarded, "sasl.mechanism": mechanism, "sasl.password": PASSWORD})
    reader.assign(("t", 0), 0)
    seen: list[bytes | None] = []
    deadline = time.monotonic() + 60
    while len(seen) < len(VALUES) and time.monotonic() < deadline:
        for arrival in reader.consume(10_000, 0.1):
            seen += arrival.values if isinstance(arrival, Records) else []
    reader.close()
    assert seen == VALUES


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_said(
    guarded: dict[str, Any], mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = BatchConsumer({**guarded, "sasl.mechanism": mechanism, "sasl.password": "wrong"})
    reader.assign(("t", 0), 0)

    def refused() -> bool:
        assert not list(reader.consume(10_000, 0.1))
        return f"the broker refuses user {USER}" in caplog.text

    eventually(refused, "nothing is said")
    reader.close()
    assert "wrong" not in caplog.text


@pytest.mark.kafka
def test_a_broker_that_is_not_trusted_is_not_talked_to(guarded: dict[str, Any]) -> None:
    host, port = guarded["bootstrap.servers"].split(":")
    unknown = security_of({"security.protocol": "SSL"})
    with pytest.raises(LinkError, match="certificate"):
        Link(host, int(port), unknown)
