"""What all systems are asked: topics to read, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

Record = tuple[bytes, bytes]
Read = Callable[[bytes], Any]


class Answer(Protocol):
    """What must come of a scenario; its length is the number of results that end a drain."""

    def __len__(self) -> int: ...

    def wanted(self, value: bytes) -> bool:
        """Tell whether a result counts, without reading it; what only closes windows does not."""

    def judge(self, read: Read, values: Iterable[bytes], *, sketch: bool) -> list[str]:
        """Return what is wrong with a system's results, the first few faults in words."""


class Scenario(Protocol):
    """Records and their answer; the same for every system and in every run."""

    @property
    def name(self) -> str:
        """What its topics' names begin with: another for other records."""

    @property
    def events(self) -> int:
        """How many events there are, without those that only close windows."""

    @property
    def partitions(self) -> int:
        """How many partitions each topic has."""

    @property
    def records_count(self) -> int:
        """How many records there are in all."""

    def topics(self) -> Mapping[str, Iterable[Record]]:
        """Return (key, value) of all records by what each topic's name ends with."""

    def answer(self) -> Answer:
        """Return what must come of it."""
