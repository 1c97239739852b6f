"""Posts alerts to a web service: signed, retried, each transition with a key by which the receiver knows a repeat."""

from __future__ import annotations

import http.client
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from schemas.results import Alert
from sinks.alert_filter import AlertFilter
from sinks.backoff import Backoff
from sinks.contract import Result
from sinks.errors import BackPressureError, SinkError
from sinks.signing import SIGNATURE, TIMESTAMP, signature

log = logging.getLogger(__name__)

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_LATER: Final = frozenset({408, 409, 425, 429})
_REFUSED: Final = frozenset({400, 413, 422})
_LONGEST_WAIT: Final = 300.0
_REMEMBERED: Final = 100_000


class WebhookSink:
    """Post each alert transition that a filter takes as one JSON request, in the order of its partition.

    Headers: ``Idempotency-Key`` is the transition's id (percent-encoded), the same in every repeat;
    ``Tidewatch-Timestamp`` is the time of sending in Unix seconds; ``Tidewatch-Signature`` signs both (`sinks.signing`).
    Delivery: at least once. A transition is repeated only if its answer was lost or this process died before the offsets
    were committed. A service that is away or overloaded (5xx, 408, 409, 425, 429, no answer) is asked again with growing
    pauses, or when it says; 400, 413 and 422 mean that it will never take this alert, which is logged and
    passed over; any other answer ends the sink, since the address or the secret must be wrong.
    """

    def __init__(
        self,
        url: str,
        secret: bytes,
        wanted: AlertFilter | None = None,
        *,
        timeout: float = 10.0,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SinkError("a webhook's address begins with https:// or http:// and a host")
        self._host, self._port, self._secure = parts.hostname, parts.port, parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret = secret
        self._wanted = wanted or AlertFilter()
        self._timeout = timeout
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._connection: http.client.HTTPConnection | None = None
        self._delivered: OrderedDict[str, None] = OrderedDict()

    def setup(self) -> None:
        """Do nothing: a service that is away is met by the first alert."""

    def write(self, batch: Sequence[Result]) -> int:
        """Post what the filter takes of a batch; what was posted before a refusal is not posted again by this process."""
        sent = 0
        for result in batch:
            alert = result.value
            if isinstance(alert, Alert) and self._wanted.takes(alert):
                if alert.id not in self._delivered:
                    self._deliver(alert)
                sent += 1
        return sent

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _deliver(self, alert: Alert) -> None:
        status, wait = self._post(alert)
        if status >= 500 or status in _LATER:
            pause = self._backoff.next() if wait is None else min(wait, _LONGEST_WAIT)
            raise BackPressureError(f"{self._host} answers {status}", code="unavailable", retry_after=pause)
        if status in _REFUSED:
            log.warning("%s refuses alert %s (%d); passed over", self._host, alert.id, status)
        elif not 200 <= status < 300:
            raise SinkError(
                f"{self._host} answers {status}: check the address and the secret; alerts are kept until then"
            )
        self._backoff.reset()
        self._delivered[alert.id] = None
        if len(self._delivered) > _REMEMBERED:
            self._delivered.popitem(last=False)

    def _post(self, alert: Alert) -> tuple[int, float | None]:
        """Return the answer's status and for how many seconds it asks to be left alone."""
        body, timestamp = msgspec.json.encode(alert), int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tidewatch",
            IDEMPOTENCY_KEY: quote(alert.id, safe="|/:+@,;= "),
            TIMESTAMP: str(timestamp),
            SIGNATURE: signature(self._secret, timestamp, body),
        }
        try:
            connection = self._connected()
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise BackPressureError(
                f"{self._host} does not answer ({error or type(error).__name__})",
                code="unavailable",
                retry_after=self._backoff.next(),
            ) from error
        return answer.status, _seconds(answer.getheader("Retry-After"))

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self._secure:
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
        self._connection = None


def _seconds(retry_after: str | None) -> float | None:
    """Read ``Retry-After`` in seconds; as a date it is left to the usual pauses."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
