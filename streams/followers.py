"""Tasks that follow a state as it is saved, so that whoever takes a partition over has little left to read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import groupby
from typing import TYPE_CHECKING

from streams.task import FollowingTask

if TYPE_CHECKING:
    from streams.checkpoint import Manifest
    from streams.config import Stage

STEP = 1 << 20
"""Bytes that are taken over at once: some 10 ms, mostly with the interpreter's lock."""

Entries = dict[tuple[str, int], bytes]
Step = tuple[FollowingTask, dict[str, bytes], Set[str]]


class Followers:
    """The tasks of one partition's stages that can follow, the others' state staying what it is: bytes.

    ``plan`` notes what a state transaction wrote, ``step`` takes over some of it, ``finish`` all of it. State that is sealed is
    not followed. Not safe for use by two threads at once.
    """

    def __init__(self, stages: Sequence[Stage], partition: int, signature: str) -> None:
        self._stages, self._partition, self._signature = stages, partition, signature
        self._begin()

    def _begin(self) -> None:
        tasks = {stage.topic: stage.task(self._partition) for stage in self._stages if not stage.private}
        self.tasks: dict[str, FollowingTask] = {
            topic: task for topic, task in tasks.items() if isinstance(task, FollowingTask) and task.follows
        }
        self._held: dict[str, int] = {}
        self._todo: deque[Step] = deque()

    def holds(self, entry: str, transaction: int) -> bool:
        """Return whether a block is in a task, or about to be."""
        return self._held.get(entry) == transaction

    def of(self, topic: str) -> FollowingTask | None:
        """Return the task on a topic if it holds a whole state."""
        has_state = any(entry.startswith(f"{topic}\0") for entry in self._held)
        return self.tasks.get(topic) if has_state else None

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the tasks take, with what they have yet to take over."""
        waiting = sum(len(data) for _, changed, _ in self._todo for data in changed.values())
        return waiting + sum(task.nbytes for task in self.tasks.values())

    def plan(self, manifest: Manifest, blocks: Entries) -> None:
        """Note a newer state, and take its new blocks out of ``blocks``; where some are not there, forget what was followed."""
        if manifest.signature != self._signature:
            return
        for topic, task in list(self.tasks.items()):
            now = {e: t for e, t in manifest.blocks.items() if e.startswith(f"{topic}\0")}
            new = {e: t for e, t in now.items() if not self.holds(e, t)}
            if any(entry not in blocks for entry in new.items()):
                self._begin()
                return
            before = {e for e in self._held if e.startswith(f"{topic}\0")}
            changed = _joined({entry: blocks.pop((entry, t)) for entry, t in new.items()})
            gone = {_name(e) for e in before} - {_name(e) for e in now} if len(new) < len(now) else set[str]()
            follower = self._anew(topic) if len(new) == len(now) else task
            self._todo += _steps(follower, changed, gone)
            for entry in before - now.keys():
                del self._held[entry]
            self._held |= new

    def _anew(self, topic: str) -> FollowingTask:
        """Return an empty task for a state that is written whole, and forget the one before."""
        before = self.tasks[topic]
        self._todo = deque(step for step in self._todo if step[0] is not before)
        (stage,) = (stage for stage in self._stages if stage.topic == topic)
        task = stage.task(self._partition)
        assert isinstance(task, FollowingTask)
        self.tasks[topic] = task
        return task

    def step(self) -> bool:
        """Take over some of what was planned; return whether there was any."""
        if not self._todo:
            return False
        task, changed, gone = self._todo.popleft()
        task.follow(changed, gone)
        return True

    def finish(self) -> None:
        """Take over all that was planned."""
        while self.step():
            pass


def _steps(task: FollowingTask, changed: Mapping[str, bytes], gone: Set[str]) -> Iterator[Step]:
    """Cut what changed into steps, ascending, blocks that may be pieces of one thing together."""
    some: dict[str, bytes] = {}
    for _, names in groupby(sorted(changed), lambda name: name.rsplit("-", 1)[0]):
        some |= {name: changed[name] for name in names}
        if sum(map(len, some.values())) >= STEP:
            yield task, some, gone
            some, gone = {}, frozenset()
    if some or gone:
        yield task, some, gone


def _joined(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return blocks by name, those that were split joined again."""
    parts: dict[str, list[bytes]] = {}
    for entry in sorted(entries):
        parts.setdefault(_name(entry), []).append(entries[entry])
    return {name: pieces[0] if len(pieces) == 1 else b"".join(pieces) for name, pieces in parts.items()}


def _name(entry: str) -> str:
    return entry.split("\0")[1]
