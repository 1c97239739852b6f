"""Outputs are a function of the record sequence: cuts, checkpoints, restores and idle timeouts anywhere change no byte."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from streams import saving
from streams.checkpoint import Progress, Restored, StateLedger, progress_record
from streams.config import EngineConfig, Stage
from streams.pipeline import Pipeline, Tumbling
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold
from streams.runner import StageRunner
from streams.saving import StateSaver
from streams.stages import stage_of
from streams.task import Output

START = 1_750_000_000_000
PIPELINE = Pipeline(
    name="p", source="t", event=SENSOR_READING, group_by=("sensor_id", "quantity"), window=Tumbling(1_000),
    rules=(Threshold(name="hot", above=50.0, clear=40.0), Silence(name="silent", duration_ms=2_500)),
)  # fmt: skip
STAGE = stage_of(PIPELINE)
CONFIG = EngineConfig("app", {"bootstrap.servers": "nowhere:1"})


def record(sensor: int, moment: int, value: float) -> bytes:
    reading = {
        "sensor_id": f"s{sensor}", "site": "x", "quantity": "temperature", "unit": "degC",
        "value": value, "time": START + moment,
    }  # fmt: skip
    return json.dumps(reading).encode()


events = st.lists(
    st.builds(
        record,
        st.integers(0, 2),
        st.integers(0, 12_000),
        st.sampled_from([1.0, 45.0, 60.0, 0.1, -7.25, 400.0]),
    )
    | st.sampled_from([b"", b"{", b'{"sensor_id": 3}']),
    min_size=1,
    max_size=40,
)


@dataclass
class Log:
    """A checkpoint partition and the outputs visible to readers, kept by one unit after another."""

    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    outputs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    transaction: int = 0
    stage: Stage = STAGE

    def restore(self) -> tuple[StageRunner, StateSaver]:
        restored = Restored()
        for key, value in self.records:
            restored.take(key, value)
        assert not restored.missing
        runner = StageRunner.restored(self.stage, 0, restored, 0)
        saver = StateSaver(CONFIG, [self.stage], 0, 1, StateLedger())
        saver.begin(restored, anew=False)
        return runner, saver

    def commit(
        self, runner: StageRunner, saver: StateSaver, outputs: list[Output], *, with_state: bool
    ) -> None:
        self.transaction += 1
        for output in outputs:
            self.outputs[output.kind].append((output.key, output.value, output.headers))
        positions = {"t": runner.position}
        self.records.append(progress_record(Progress("me", self.transaction, positions, runner.controls)))
        if with_state:
            written = list(saver.records({"t": runner}, self.transaction, positions))
            assert max(len(r.value or b"") for r in written) <= saving.MAX_BLOCK
            self.records += [(r.key or b"", r.value or b"") for r in written]
            saver.saved()
        runner.controls, runner.committed = [], runner.position


def batch(values: list[bytes], start: int, end: int) -> RawBatch:
    offsets = np.arange(start, end, dtype=np.int64)
    log_times = np.full(end - start, START + 60_000, np.int64)
    return RawBatch("t", 0, start, end, offsets, log_times, [b"k"] * (end - start), values[start:end])


def disturbed(values: list[bytes], idles: list[tuple[int, int]], data: st.DataObject) -> Log:
    """Go through the records in pieces; commit, save, fall over and come back wherever ``data`` says so."""
    log = Log()
    runner, saver = log.restore()
    pending: list[Output] = []
    waiting = list(idles)
    while runner.position < len(values) or runner.replaying:
        end = min([data.draw(st.integers(runner.position + 1, len(values)))] + [p for p, _ in waiting[:1]])
        pending += runner.take(batch(values, runner.position, max(end, runner.position)))
        runner.settle()
        while waiting and not runner.replaying and runner.position == waiting[0][0]:
            pending += runner.advance(waiting.pop(0)[1])
            log.commit(runner, saver, pending, with_state=False)
            pending = []
        what = data.draw(st.sampled_from(["go on", "emit", "save", "fall", "save and fall"]))
        if what in ("emit", "save", "save and fall") and not runner.replaying:
            log.commit(runner, saver, pending, with_state=what != "emit")
            pending = []
        if "fall" in what:
            pending = []
            runner, saver = log.restore()
            runner.settle()
            waiting = [idle for idle in waiting if idle[0] >= runner.committed]
    log.commit(runner, saver, pending, with_state=False)
    return log


@settings(max_examples=60, deadline=None)
@given(values=events, data=st.data())
def test_no_cut_checkpoint_or_restore_changes_a_byte(values: list[bytes], data: st.DataObject) -> None:
    whole: dict[str, list[Any]] = defaultdict(list)
    for output in StageRunner.restored(STAGE, 0, Restored(), 0).take(batch(values, 0, len(values))):
        whole[output.kind].append((output.key, output.value, output.headers))
    assert disturbed(values, [], data).outputs == whole


@settings(max_examples=40, deadline=None)
@given(values=events, data=st.data(), ahead=st.integers(1_000, 9_000))
def test_an_idle_timeout_is_replayed_where_it_took_effect(
    values: list[bytes], data: st.DataObject, ahead: int
) -> None:
    at = data.draw(st.integers(0, len(values)))
    runner = StageRunner.restored(STAGE, 0, Restored(), 0)
    outputs = runner.take(batch(values, 0, at)) if at else []
    watermark = max(runner.task.watermark, START) + ahead
    outputs += runner.advance(watermark)
    outputs += runner.take(batch(values, at, len(values))) if at < len(values) else []
    whole: dict[str, list[Any]] = defaultdict(list)
    for output in outputs:
        whole[output.kind].append((output.key, output.value, output.headers))
    assert disturbed(values, [(at, watermark)], data).outputs == whole


def test_the_first_state_after_a_restore_is_what_has_changed() -> None:
    log = Log(stage=stage_of(replace(PIPELINE, rules=())))
    runner, saver = log.restore()
    values = [record(sensor, 0, 1.0) for sensor in range(5_000)]
    runner.take(batch(values, 0, 5_000))
    log.commit(runner, saver, [], with_state=True)
    base = sum(len(value) for _, value in log.records)
    for more in range(3):
        runner, saver = log.restore()
        before = len(log.records)
        values.append(record(7, more, 2.0))
        runner.take(batch(values, 5_000 + more, 5_001 + more))
        log.commit(runner, saver, [], with_state=True)
        assert sum(len(value) for _, value in log.records[before:]) < base / 100
    again, _ = log.restore()
    assert again.snapshot(full=True) == runner.snapshot(full=True)


def test_a_large_block_is_split_and_joined() -> None:
    big = np.random.default_rng(1).bytes(1_300_000)

    class Large:
        def snapshot(self, *, full: bool) -> dict[str, bytes | None]:  # noqa: ARG002
            return {"big": big, "small": b"s"}

    runner = StageRunner.restored(STAGE, 0, Restored(), 0)
    runner.task = Large()  # type: ignore[assignment]
    object.__setattr__(runner.task, "watermark", 0)
    saver = StateSaver(CONFIG, [STAGE], 0, 1, StateLedger())
    restored = Restored()
    for written in saver.records({"t": runner}, 1, {"t": 0}):
        assert len(written.value or b"") <= 512_000
        restored.take(written.key or b"", written.value or b"")
    saver.saved()
    assert restored.state("t") == {"big": big, "small": b"s"}
    big = b"shrunk"
    for written in saver.records({"t": runner}, 2, {"t": 0}):
        restored.take(written.key or b"", written.value or b"")
    assert not restored.missing
    assert restored.state("t") == {"big": b"shrunk", "small": b"s"}
    assert msgspec.msgpack.decode(written.value or b"")[5] == {"t\0big": 2, "t\0small": 2}
