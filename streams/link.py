"""A connection to one broker: opened, let in and asked in turn while waiting, then read by the fetch thread as bytes arrive."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aiokafka.conn import SaslPlainAuthenticator, ScramAuthenticator
from aiokafka.errors import for_code

from schemas.packed import Bytes
from streams import wire
from streams.security import Security, SecurityError
from streams.wire import WireError

CLIENT = "tidewatch"
OPEN_WITHIN = 10.0
_STALL = 0.2  # seconds for which the rest of an answer is waited for at once
_LARGEST = 1 << 30


class LinkError(WireError):
    """The connection broke or never was."""


def named(error: int) -> str:
    """Return what an error of the protocol is called, with its number."""
    return f"{for_code(error).__name__} ({error})"


class Link:
    """One connection, on which at most one request is under way; the calls wait but for ``send`` and ``receive``.

    Raises LinkError where the broker cannot be reached, WireError where what comes is no answer, SecurityError where it does not
    let this client in.
    """

    def __init__(self, host: str, port: int, security: Security) -> None:
        self._buffer: Bytes = np.empty(1 << 16, np.uint8)
        self._have = 0
        self._correlation = 0
        self._api = 0
        try:
            self._socket = _connected(host, port, security)
            self._secured = isinstance(self._socket, ssl.SSLSocket)
        except OSError as error:
            raise LinkError(f"no connection to {host}:{port}: {error}") from error
        try:
            self._be_let_in(security)
        except (WireError, SecurityError):
            self.close()
            raise
        self._take_turns()

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, api: int, body: bytes) -> wire.Reader:
        """Send a request and wait for its answer, ``OPEN_WITHIN`` seconds at most."""
        self.send(api, body)
        give_up = time.monotonic() + OPEN_WITHIN
        while time.monotonic() < give_up:
            answer = self.receive()
            if answer is not None:
                return answer
        raise LinkError(f"the broker does not answer within {OPEN_WITHIN:.0f} s")

    def send(self, api: int, body: bytes) -> None:
        """Send a request, whose answer ``receive`` brings."""
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        self._api = api
        try:
            self._socket.sendall(wire.framed(api, self._correlation, CLIENT, body))
        except OSError as error:
            raise LinkError(f"the connection broke: {error}") from error

    def receive(self) -> wire.Reader | None:
        """Take what has arrived; return the answer once all of it is there. Its bytes are valid until the next ``receive``."""
        if self._have < 4 and not self._fill(4):
            return None
        size = 4 + int.from_bytes(self._buffer[:4].tobytes(), "big", signed=True)
        if not 8 <= size <= _LARGEST:
            raise WireError(f"what arrived is no answer: it begins with a length of {size - 4}")
        if not self._fill(size):
            return None
        self._have = 0
        return wire.answered(self._api, self._correlation, self._buffer.data[4:size])

    def _fill(self, size: int) -> bool:
        """Read on to ``size`` bytes, all in one go where they come at once; tell whether they are there."""
        if len(self._buffer) < size:
            larger = np.empty(max(size, 2 * len(self._buffer)), np.uint8)
            larger[: self._have] = self._buffer[: self._have]
            self._buffer = larger
        view = self._buffer.data
        flags = 0 if self._secured else socket.MSG_WAITALL
        while self._have < size:
            try:
                got = self._socket.recv_into(view[self._have : size], 0, flags)
            except (BlockingIOError, TimeoutError):
                return False
            except OSError as error:
                raise LinkError(f"the connection broke: {error}") from error
            if not got:
                raise LinkError("the broker closed the connection")
            self._have += got
        return True

    def _take_turns(self) -> None:
        """From now on wait for the rest of an answer for a short time only.

        The kernel waits for all of it, which costs one turn of the interpreter's lock rather than one for each piece; TLS has
        pieces only.
        """
        if self._secured:
            self._socket.settimeout(_STALL)
            return
        self._socket.settimeout(None)
        stall = struct.pack("ll", 0, int(_STALL * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)

    # --- being let in

    def _be_let_in(self, security: Security) -> None:
        known = wire.read_versions(self.call(wire.API_VERSIONS, b""))
        for api in (wire.FETCH, wire.METADATA):
            low, high = known.get(api, (0, -1))
            if not low <= wire.SPOKEN[api] <= high:
                raise SecurityError(
                    f"the broker speaks versions {low} to {high} of request {api}, and {wire.SPOKEN[api]} is needed: "
                    "use Kafka 2.7 or later"
                )
        if security.mechanism is not None:
            self._authenticate(security, security.mechanism)

    def _authenticate(self, security: Security, mechanism: str) -> None:
        answer = self.call(wire.SASL_HANDSHAKE, wire.handshake_request(mechanism))
        error, known = wire.read_handshake(answer)
        if error:
            raise SecurityError(f"the broker does not know {mechanism}, but {', '.join(known)}")
        authenticator, token = _authenticator(security, mechanism), None
        while (step := authenticator.step(token)) is not None:
            answer = self.call(wire.SASL_AUTHENTICATE, wire.authenticate_request(step[0]))
            error, text, token = wire.read_authenticated(answer)
            if error:
                raise SecurityError(f"the broker refuses user {security.username}: {text or named(error)}")


def _connected(host: str, port: int, security: Security) -> socket.socket:
    plain = socket.create_connection((host, port), OPEN_WITHIN)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if security.context is None:
        return plain
    try:
        return security.context.wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


class _Here:
    """Runs what an authenticator would give to an event loop's threads where it is called."""

    def run_in_executor(self, _: Any, call: Callable[[Any], Any], argument: Any) -> Any:
        return call(argument)


def _authenticator(security: Security, mechanism: str) -> Any:
    common = {
        "loop": _Here(),
        "sasl_plain_username": security.username,
        "sasl_plain_password": security.password,
    }
    if mechanism == "PLAIN":
        return SaslPlainAuthenticator(**common)
    return ScramAuthenticator(**common, sasl_mechanism=mechanism)
