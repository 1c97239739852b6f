"""The signature of webhook requests: HMAC-SHA256 over time and body, as senders make it and receivers check it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

TIMESTAMP: Final = "Tidewatch-Timestamp"
SIGNATURE: Final = "Tidewatch-Signature"
TOLERANCE_SECONDS: Final = 300


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return ``v1=`` and the hex HMAC-SHA256 of ``<timestamp>.<body>``; the timestamp is in Unix seconds."""
    return "v1=" + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def is_authentic(
    secret: bytes, headers: Mapping[str, str], body: bytes, now: float, tolerance: float = TOLERANCE_SECONDS
) -> bool:
    """Tell whether a request was signed with the secret, not longer ago (or ahead) than ``tolerance`` seconds.

    A request that is repeated within that time passes: keep the idempotency keys that you have handled.
    """
    try:
        timestamp = int(headers.get(TIMESTAMP, ""))
    except ValueError:
        return False
    expected = signature(secret, timestamp, body)
    return abs(now - timestamp) <= tolerance and hmac.compare_digest(expected, headers.get(SIGNATURE, ""))
