"""Runs the tasks of one partition: decode, replay to the committed position, isolate rows that make a task fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.columns import Columns, RawBatch
from schemas.errors import ErrorCode
from streams.burial import buried
from streams.checkpoint import Control, Restored
from streams.config import Stage
from streams.cuts import cut_at_offset, cut_at_row, without_rows
from streams.errors import HandlerError, IncompatibleCheckpointError
from streams.failpoints import failpoint
from streams.task import Blocks, Output, RuledTask, TallyingTask, Task
from streams.watermark import BEGINNING, SILENT

MAX_POISON = 100


@dataclass(slots=True)
class StageRunner:
    """One stage's task, its position, and what is left of the replay.

    ``take`` returns the outputs that are new, that is, beyond the committed position; everything before it is recomputed and
    discarded. Controls are applied at the very positions where they first took effect. ``rows`` is the number of events in the last
    batch, good or bad, and ``tally`` what its task counted about those that were not counted before.
    """

    stage: Stage
    partition: int
    task: Task
    position: int
    committed: int
    idles: list[Control] = field(default_factory=list)
    skips: set[tuple[int, int]] = field(default_factory=set)
    controls: list[Control] = field(default_factory=list)
    suspect_until: int = -1
    rows: int = 0
    lost_track: bool = False
    tally: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def restored(cls, stage: Stage, partition: int, restored: Restored, start: int) -> StageRunner:
        """Build the task from a checkpoint; ``start`` is the position where there is none."""
        manifest, progress = restored.manifest, restored.progress
        followed, position = restored.task(stage.topic), start
        task = followed or stage.task(partition)
        if manifest is not None:
            if followed is None:
                _restore(task, restored.state(stage.topic))
            else:
                followed.arrive()
            position = manifest.positions.get(stage.topic, start)
        committed = (
            position if progress is None else max(position, progress.positions.get(stage.topic, position))
        )
        controls = [c for c in restored.controls if c.topic == stage.topic]
        idles = [c for c in controls if c.kind != "skip"]
        skips = {(c.position, c.row) for c in controls if c.kind == "skip"}
        return cls(stage, partition, task, position, committed, idles, skips)

    @property
    def replaying(self) -> bool:
        """Whether outputs are still being recomputed."""
        return self.position < self.committed or bool(self.idles)

    def take(self, batch: RawBatch) -> list[Output]:
        """Process a batch that starts at the position and return its new outputs.

        Raises:
            HandlerError: the task fails whatever row is left out.
            Exception: the task failed for the first time here; restore and try again.
        """
        columns = self.stage.decode(batch)
        self.rows = len(columns) + len(columns.rejected)
        if self.rows:
            failpoint("batch-taken", self.partition)
        if self.replaying:
            new = self._replay(columns)
            _tally(self.task)  # what was recomputed was counted before
        else:
            new = columns
        outputs = [] if new is None else self._process(new)
        self.tally = _tally(self.task)
        if self.rows:
            failpoint("batch-processed", self.partition)
        return outputs

    def settle(self) -> None:
        """Apply the controls that took effect at the committed position, once it is reached."""
        if self.position == self.committed:
            self._apply_idles(self.position)

    def idle_target(self, elapsed: int, timeout: int) -> int | None:
        """Return the watermark due after ``elapsed`` ms without a record, ``None`` while there is no need to move it."""
        task, stage = self.task, self.stage
        if elapsed < timeout:
            return None
        if task.max_event_time <= BEGINNING:
            return SILENT if stage.marks_idle and task.watermark < SILENT else None
        target = task.max_event_time - stage.out_of_orderness_ms + elapsed
        return target if target >= task.watermark + timeout else None

    def advance(self, watermark: int) -> list[Output]:
        """Move the watermark because the partition is idle, and note it as a control."""
        self.controls.append(Control(self.stage.topic, self.position, "idle", watermark))
        return self.task.advance(self.position, watermark)

    def follow_rules(self, text: str) -> bool:
        """Announce the newest live rules to a task that does not know them yet, and note it as a control; say whether so."""
        task = self.task
        if self.replaying or not isinstance(task, RuledTask) or task.rules_text == text:
            return False
        self.controls.append(Control(self.stage.topic, self.position, "rules", text=text))
        task.change_rules(text)
        return True

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the task's blocks: all, or those changed since the last call."""
        self.lost_track = False
        return self.task.snapshot(full=full)

    def _replay(self, columns: Columns) -> Columns | None:
        failpoint("replay", self.partition)
        while self.replaying:
            self._apply_idles(columns.start)
            end = min([columns.next, self.committed] + [c.position for c in self.idles[:1]])
            if end <= columns.start:
                break
            head, columns = cut_at_offset(columns, end)
            self.task.process(without_rows(head, self.skips))
            self.position = end
        return columns if columns.next > columns.start else None

    def _apply_idles(self, position: int) -> None:
        while self.idles and self.idles[0].position <= position:
            control = self.idles.pop(0)
            if control.kind == "rules" and isinstance(self.task, RuledTask):
                self.task.change_rules(control.text)
            else:
                self.task.advance(control.position, control.watermark)

    def _process(self, columns: Columns) -> list[Output]:
        if self.position >= self.suspect_until:
            outputs = self.task.process(columns)
            self.position = columns.next
            return outputs
        return self._process_suspect(columns)

    def _process_suspect(self, columns: Columns) -> list[Output]:
        """Process a batch that failed before, leaving out the rows that make the task fail."""
        outputs: list[Output] = []
        poison = 0
        self.lost_track = (
            True  # full snapshots in between hide what has changed since the last state transaction
        )
        while True:
            state = _blocks(self.task.snapshot(full=True))
            try:
                outputs += self.task.process(columns)
            except Exception as error:
                poison += 1
                row = self._first_bad_row(state, columns)
                if row is None or poison > MAX_POISON:
                    message = f"the task on {columns.topic}[{columns.partition}] fails at {columns.start}: {error!r}"
                    raise HandlerError(message) from error
                head, rest = cut_at_row(columns, row)
                bad, columns = cut_at_row(rest, 1)
                self._rebuild(state)
                outputs += self.task.process(head)
                outputs.append(self._bury(bad, error))
            else:
                self.position = columns.next
                return outputs

    def _first_bad_row(self, state: Mapping[str, bytes], columns: Columns) -> int | None:
        low, high = 0, len(columns)
        if self._fails(state, cut_at_row(columns, 0)[0]):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails(state, cut_at_row(columns, middle)[0]):
                high = middle
            else:
                low = middle
        return low if high > low else None

    def _fails(self, state: Mapping[str, bytes], columns: Columns) -> bool:
        self._rebuild(state)
        try:
            self.task.process(columns)
        except Exception:
            return True
        return False

    def _rebuild(self, state: Mapping[str, bytes]) -> None:
        self.task = self.stage.task(self.partition)
        self.task.restore(state)

    def _bury(self, bad: Columns, error: Exception) -> Output:
        self.controls.append(Control(bad.topic, int(bad.offset[0]), "skip", row=int(bad.row[0])))
        return buried(bad, 0, ErrorCode.PROCESSING, repr(error)[:500], "process")


def _tally(task: Task) -> Mapping[str, int]:
    return task.drain() if isinstance(task, TallyingTask) else {}


def _restore(task: Task, state: Mapping[str, bytes]) -> None:
    try:
        task.restore(state)
    except Exception as error:
        raise IncompatibleCheckpointError(
            f"This version cannot read the state of the pipeline ({error!r}). Run the version that wrote it, start side by side "
            "under another --app-id, or run 'tidewatch reset --to earliest' (or a time) to recompute."
        ) from error


def _blocks(blocks: Blocks) -> dict[str, bytes]:
    return {name: value for name, value in blocks.items() if value is not None}


def signature_of(stages: Sequence[Stage]) -> str:
    """Return what must agree between a checkpoint and the stages that read it."""
    return msgspec.json.encode(sorted((stage.topic, stage.signature) for stage in stages)).decode()
