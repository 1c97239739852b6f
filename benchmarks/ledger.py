"""What has been measured so far, one run a line, so that an interrupted measurement goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.drain import Drain


class Entry(msgspec.Struct, frozen=True, tag="drain", tag_field="kind"):
    """One drain. ``round`` counts from 1, ``events`` is the size asked for, ``load_1m`` the machine's load before it began."""

    scenario: str
    system: str
    version: str
    round: int
    events: int
    drain: Drain
    load_1m: float
    date: str
    machine: dict[str, Any]


class Paced(msgspec.Struct, frozen=True, tag="latency", tag_field="kind"):
    """One run of latency at a share of the sustained rate, 1 for the run that finds it; ``report`` is what it says."""

    share: float
    rate: int
    load_1m: float
    report: dict[str, Any]


Line = Entry | Paced
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Line).decode


class LedgerError(Exception):
    """The file holds something else."""


class Ledger:
    """Runs in the order in which they were measured, kept in a file if one is given.

    A run is on disk before the next one begins. Of a file that ends within a line, that line is let go.

    Raises LedgerError where a line is none of a ledger's.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self.lines = path, list[Line]()
        if path is None or not path.exists():
            return
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self.lines.append(_decode(line))
            except msgspec.MsgspecError as error:
                raise LedgerError(f"line {number} of {path} is no measurement: {error}") from error
        if torn:
            with path.open("rb+") as file:
                file.truncate(len(whole) + 1 if whole else 0)

    def append(self, line: Line) -> None:
        """Keep a run."""
        self.lines.append(line)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(_encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())

    @property
    def drains(self) -> list[Entry]:
        """The drains."""
        return [line for line in self.lines if isinstance(line, Entry)]

    @property
    def paced(self) -> list[Paced]:
        """The runs of latency."""
        return [line for line in self.lines if isinstance(line, Paced)]

    def has(self, scenario: str, system: str, number: int, events: int) -> bool:
        """Tell whether a drain was measured already."""
        return any(
            (e.scenario, e.system, e.round, e.events) == (scenario, system, number, events)
            for e in self.drains
        )


def pairs(entries: Sequence[Entry], scenario: str) -> dict[str, list[tuple[Entry, Entry]]]:
    """Return by system the smaller and the larger drain of each round that has both, systems in order of appearance."""
    found: dict[str, dict[int, list[Entry]]] = {}
    for entry in entries:
        if entry.scenario == scenario:
            found.setdefault(entry.system, {}).setdefault(entry.round, []).append(entry)
    whole = {
        system: [sorted(two, key=lambda e: e.events) for two in rounds.values() if len(two) == 2]
        for system, rounds in found.items()
    }
    return {system: [(two[0], two[1]) for two in rounds] for system, rounds in whole.items() if rounds}
