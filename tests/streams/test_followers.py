"""Tasks that follow a state as it is saved: at any time they are what a restore would give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.checkpoint import MANIFEST, Manifest, Progress, Restored, StateLedger, block_key, progress_record
from streams.config import EngineConfig, Stage
from streams.extras import Distinct
from streams.followers import Followers
from streams.pipeline import Hopping, Pipeline, Session
from streams.runner import StageRunner, signature_of
from streams.saving import StateSaver
from streams.stages import stage_of
from streams.window_task import WindowTask
from tests.streams.windowing import TEN, Row, Windowing, by_kind, columns, pipeline, rows_strategy

CONFIG = EngineConfig("app", {"bootstrap.servers": "nowhere:1"})


def stage_for(definition: Pipeline) -> Stage:
    return stage_of(definition)


def following(stage: Stage) -> Restored:
    return Restored(followers=Followers([stage], 0, signature_of([stage])))


class Owner:
    """A task that saves its state to a log, which others read."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.log = stage, list[tuple[bytes, bytes]]()
        self.transaction = 0
        self.begin()

    def begin(self) -> None:
        restored = Restored()
        for entry in self.log:
            restored.take(*entry)
        self.runner = StageRunner.restored(self.stage, 0, restored, 0)
        self.saver = StateSaver(CONFIG, [self.stage], 0, 1, StateLedger())
        self.saver.begin(restored, anew=False)

    def save(self, *, full: bool) -> None:
        self.transaction += 1
        if full:
            self.saver.ledger = StateLedger()
        positions = {self.stage.topic: self.transaction}
        self.log.append(progress_record(Progress("me", self.transaction, positions, [])))
        written = self.saver.records({self.stage.topic: self.runner}, self.transaction, positions)
        self.log += [(record.key or b"", record.value or b"") for record in written]
        self.saver.saved()


def follow(copy: Restored, owner: Owner) -> None:
    """Take over all that the owner has saved."""
    for entry in owner.log:
        copy.take(*entry)
    assert copy.followers is not None
    copy.followers.finish()


steps = st.sampled_from(["save", "save", "save", "base", "restart", "read", "step", "wait"])


@settings(max_examples=150, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([TEN, Hopping(20, 10)]),
    saves=st.sampled_from([1, 9]),
    data=st.data(),
)
def test_a_task_that_follows_is_what_a_restore_gives(
    rows: list[Row], window: Windowing, saves: int, data: st.DataObject
) -> None:
    """Whatever is saved, in however many steps it is taken over, and whenever the owner falls over or writes a base."""
    owner = Owner(stage_for(pipeline(15, window=window)))
    copy, read = following(owner.stage), 0
    for i in range(len(rows)):
        owner.runner.task.process(columns(rows[i : i + 1], i))
        what = data.draw(steps)
        if what in ("save", "base"):
            for _ in range(saves):  # many runs in one go, so that some are put together
                owner.save(full=what == "base")
        elif what == "restart":
            owner.save(full=False)
            owner.begin()
        elif what == "read":
            for entry in owner.log[read:]:
                copy.take(*entry)
            read = len(owner.log)
        elif what == "step" and copy.followers is not None:
            copy.followers.step()
    owner.save(full=False)
    for entry in owner.log[read:]:
        copy.take(*entry)
    assert copy.followers is not None
    copy.followers.finish()
    assert not copy.missing
    assert not copy.blocks, "what is in the task is not kept as bytes, too"
    taken = StageRunner.restored(owner.stage, 0, copy, 0).task
    assert taken.snapshot(full=True) == owner.runner.task.snapshot(full=True)
    assert by_kind(taken.advance(len(rows), 10_000)) == by_kind(owner.runner.task.advance(len(rows), 10_000))


@settings(max_examples=40, deadline=None)
@given(rows=rows_strategy, data=st.data())
def test_an_heir_that_followed_goes_on_with_changes(rows: list[Row], data: st.DataObject) -> None:
    """What it saves after a takeover adds up to its state for those who read the log from the beginning, and for other copies."""
    owner = Owner(stage_for(pipeline(15)))
    copies = [following(owner.stage), following(owner.stage)]
    cut = data.draw(st.integers(1, len(rows)))
    for i in range(cut):
        owner.runner.task.process(columns(rows[i : i + 1], i))
        owner.save(full=False)
    follow(copies[0], owner)
    owner.runner = StageRunner.restored(owner.stage, 0, copies[0], 0)
    owner.saver.begin(copies[0], anew=False)
    for i in range(cut, len(rows)):
        owner.runner.task.process(columns(rows[i : i + 1], i))
        owner.save(full=False)
    follow(copies[1], owner)
    expected = owner.runner.task.snapshot(full=True)
    assert StageRunner.restored(owner.stage, 0, copies[1], 0).task.snapshot(full=True) == expected
    owner.begin()
    assert owner.runner.task.snapshot(full=True) == expected


def test_large_state_is_taken_over_in_steps() -> None:
    owner = Owner(stage_for(replace(pipeline(), rules=())))
    owner.runner.task.process(columns([(f"g{i:05d}", 5, float(i)) for i in range(30_000)]))
    owner.save(full=False)
    copy = following(owner.stage)
    for entry in owner.log:
        copy.take(*entry)
    followers = copy.followers
    assert followers is not None
    taken = 0
    while followers.step():
        taken += 1
    assert taken > 2
    assert followers.nbytes > sum(len(value) for _, value in owner.log) / 2
    taken_task = StageRunner.restored(owner.stage, 0, copy, 0).task
    assert taken_task.snapshot(full=True) == owner.runner.task.snapshot(full=True)


@pytest.mark.parametrize(
    "definition", [replace(pipeline(), extras=(Distinct("d", "g"),)), pipeline(window=Session(5))]
)
def test_what_is_larger_in_memory_than_in_the_log_stays_bytes(definition: Pipeline) -> None:
    stage = stage_for(definition)
    owner = Owner(stage)
    owner.save(full=False)
    copy = following(stage)
    for entry in owner.log:
        copy.take(*entry)
    assert copy.task(stage.topic) is None
    assert not copy.missing
    assert copy.state(stage.topic).keys() >= {"header"}


def test_state_of_another_definition_stays_bytes() -> None:
    mine, other = stage_for(pipeline()), stage_for(pipeline(7))
    owner = Owner(other)
    owner.save(full=False)
    copy = following(mine)
    for entry in owner.log:
        copy.take(*entry)
    assert copy.task(mine.topic) is None
    assert copy.blocks


def test_a_copy_that_lacks_a_block_says_so_and_begins_anew_with_the_next_base() -> None:
    owner = Owner(stage_for(pipeline()))
    owner.runner.task.process(columns([("a", 1, 1.0)]))
    owner.save(full=False)
    copy = following(owner.stage)
    lost = [entry for entry in owner.log if not entry[0].endswith(b"header")]
    assert len(lost) == len(owner.log) - 1
    for entry in lost:
        copy.take(*entry)
    assert copy.missing == [f"{owner.stage.topic}\0header"]
    written = len(owner.log)
    owner.save(full=True)
    for entry in owner.log[written:]:
        copy.take(*entry)
    assert not copy.missing
    assert copy.followers is not None
    copy.followers.finish()
    task: Any = StageRunner.restored(owner.stage, 0, copy, 0).task
    assert task.snapshot(full=True) == owner.runner.task.snapshot(full=True)


def test_a_state_of_another_format_is_refused() -> None:
    stage = stage_for(pipeline())
    task = WindowTask(pipeline())
    with pytest.raises(ValueError, match="format 2, not 4"):
        task.follow({"header": msgspec.msgpack.encode([2, 0, 0, False])}, ())
    copy = following(stage)
    live = {f"{stage.topic}\0header": 1}
    copy.take(block_key(stage.topic, "header", 1), msgspec.msgpack.encode([2, 0, 0, False]))
    copy.take(MANIFEST, msgspec.msgpack.encode(Manifest(1, signature_of([stage]), 1, {}, {}, live)))
    assert copy.followers is not None
    with pytest.raises(ValueError, match="format 2, not 4"):
        copy.followers.finish()
