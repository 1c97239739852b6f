"""What analysts made of pairs, as read back: the latest judgement of each."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.safety import Disposition
from sinks.signals import Keyed, latest


def latest_dispositions(records: Iterable[Keyed]) -> dict[str, Disposition]:
    """Return the last judgement of every pair by its id, as ``latest`` does."""
    return latest(records, Disposition)


def told(disposition: Disposition | None, n: int) -> str:
    """Return a judgement in a few words, and how many reports came since; empty where there is none."""
    if disposition is None:
        return ""
    since = n - disposition.n
    return disposition.judgement + (f", {since} reports since" if since > 0 else "")
