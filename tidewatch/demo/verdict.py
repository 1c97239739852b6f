"""Compares what was published with the recount: every window, every late row, every dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.deadletters import dead_letter, header
from schemas.results import WindowSummary
from streams.pipeline import Pipeline, Tumbling
from streams.sketches.codes import decode_many
from streams.sketches.mapping import LogMapping
from tidewatch.demo.recount import MEASURES, Recount, Windows

TOLERANCE = 1e-9
_SHOWN = 5

Place = tuple[int, int]


@dataclass(slots=True)
class Verdict:
    """What was compared, and every way in which it differs; no differences means that the results are right."""

    windows: int = 0
    late: int = 0
    dead: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, other: Verdict) -> None:
        """Take over another comparison."""
        self.windows += other.windows
        self.late += other.late
        self.dead += other.dead
        self.differences += other.differences


def window_ms(pipeline: Pipeline) -> int:
    """Return the length of a pipeline's tumbling windows. Raises TypeError for other windows, which are not recounted."""
    if not isinstance(pipeline.window, Tumbling):
        raise TypeError(f"{pipeline.name} has no tumbling windows")
    return pipeline.window.size_ms


def compare_windows(
    pipeline: Pipeline, truth: Iterable[Recount], published: Sequence[WindowSummary]
) -> Verdict:
    """Compare published windows with the recount of all partitions: ids exactly, numbers to 1e-9, sketches by their counts."""
    verdict = Verdict()
    expected: dict[str, tuple[Windows, int]] = {}
    for one in truth:
        for row, (group, end) in enumerate(zip(one.windows.group, one.windows.end.tolist(), strict=True)):
            name = f"{pipeline.name}|{group}|{end - window_ms(pipeline)}|{end}|0"
            expected[name] = one.windows, row
    verdict.windows = len(expected)
    verdict.differences += _sets("window", expected.keys(), [summary.id for summary in published])
    known = [summary for summary in published if summary.id in expected]
    if known:
        verdict.differences += _numbers(known, expected)
        verdict.differences += _sketches(pipeline, known)
    return verdict


def compare_places(what: str, expected: Collection[Place], published: Sequence[Place]) -> list[str]:
    """Compare the (partition, offset) pairs of late rows or dead letters; return the differences."""
    return _sets(what, expected, published)


def place_of_late(headers: Sequence[tuple[str, bytes | str | None]] | None) -> Place:
    """Return the (partition, offset) that a late row came from; (-1, -1) where its headers do not say."""
    found = [header(headers, f"tidewatch.late.{name}") for name in ("partition", "offset")]
    partition, offset = (int(text) if text and text.isdigit() else -1 for text in found)
    return partition, offset


def place_of_dead(headers: Sequence[tuple[str, bytes | str | None]] | None) -> tuple[Place, str]:
    """Return the (partition, offset) that a dead letter came from, and its error code."""
    letter = dead_letter(headers, None, None)
    return (letter.partition, letter.offset), letter.code


def _sets(what: str, expected: Collection[Hashable], published: Sequence[Hashable]) -> list[str]:
    counts, wanted = Counter(published), set(expected)
    return [
        *_some(f"{what} missing", sorted(map(str, wanted - counts.keys()))),
        *_some(f"{what} that should not be there", sorted(map(str, counts.keys() - wanted))),
        *_some(f"{what} published more than once", sorted(str(one) for one, n in counts.items() if n > 1)),
    ]


def _numbers(known: Sequence[WindowSummary], expected: Mapping[str, tuple[Windows, int]]) -> list[str]:
    columns = {id(windows): windows.values() for windows, _ in expected.values()}
    true = np.array([columns[id(expected[s.id][0])][expected[s.id][1]] for s in known])
    mine = np.array([[getattr(s, name) for name in MEASURES] for s in known])
    wrong = ~np.isclose(mine, true, rtol=TOLERANCE, atol=TOLERANCE)
    return _some(
        "number differs",
        [
            f"{known[row].id} {MEASURES[column]}: {float(mine[row, column])!r}, recounted {float(true[row, column])!r}"
            for row, column in np.argwhere(wrong).tolist()
        ],
    )


def _sketches(pipeline: Pipeline, known: Sequence[WindowSummary]) -> list[str]:
    indptr, _, counts = decode_many(LogMapping(pipeline.alpha), [summary.sketch for summary in known])
    held = np.diff(np.concatenate([[0], np.cumsum(counts)])[indptr])
    wrong = np.flatnonzero(held != [summary.count for summary in known]).tolist()
    return _some("sketch holds another count", [f"{known[row].id}: {held[row]}" for row in wrong])


def _some(what: str, cases: Sequence[str]) -> list[str]:
    """Return the first few cases in words, and how many more there are."""
    shown: Callable[[str], str] = f"{what}: {{}}".format
    more = [f"{what}: {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else []
    return [shown(case) for case in cases[:_SHOWN]] + more
