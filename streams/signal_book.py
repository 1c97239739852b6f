"""Which signals are open, and the steps by which they open, strengthen, weaken and close."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from schemas.safety import SignalChange, SignalState, SignalStep
from streams.reports import CODE_VERSION, ReportPipeline
from streams.signals.presets import Preset


class Held(msgspec.Struct, array_like=True):
    """A signal that was ever open: when last opened, at which revision, and how strong when last told."""

    opened_at: int
    revision: int
    told: float
    open: bool


class SignalBook:
    """Compares what presets say now with what was said before, for pairs by number."""

    def __init__(self, pipeline: ReportPipeline) -> None:
        self._pipeline = pipeline
        self._presets = pipeline.chosen
        self._held: dict[tuple[int, int], Held] = {}

    def watched(self) -> list[int]:
        """Return the numbers of pairs with an open signal, in order."""
        return sorted({pair for (pair, _), held in self._held.items() if held.open})

    def update(
        self,
        pairs: Sequence[int],
        met: Sequence[Sequence[bool]],
        strengths: Sequence[Sequence[float]],
        time: int,
    ) -> list[tuple[int, Preset, SignalStep, Held]]:
        """Return the steps of pairs in order, each with row position, preset and a copy of what is now held.

        ``met`` and ``strengths`` have one sequence a preset, over the pairs; strengths are on a log2 scale.
        """
        steps: list[tuple[int, Preset, SignalStep, Held]] = []
        for which, preset in enumerate(self._presets):
            for at, (pair, now, strength) in enumerate(zip(pairs, met[which], strengths[which], strict=True)):
                held = self._held.get((pair, which))
                if not now and (held is None or not held.open):
                    continue  # most pairs, most of the time
                step = self._step(held, now, strength)
                if step is None:
                    continue
                if held is None or step == "open":
                    held = self._held[pair, which] = Held(time, 0, strength, True)
                else:
                    held.revision += 1
                    held.told, held.open = strength, step != "closed"
                steps.append((at, preset, step, Held(held.opened_at, held.revision, held.told, held.open)))
        return sorted(steps, key=lambda step: step[0])

    def _step(self, held: Held | None, now: bool, strength: float) -> SignalStep | None:
        if held is None or not held.open:
            return "open" if now else None
        if not now:
            return "closed"
        if strength >= held.told + self._pipeline.notch:
            return "strengthened"
        return "weakened" if strength <= held.told - self._pipeline.notch else None

    def change(
        self, preset: Preset, step: SignalStep, held: Held, state: SignalState, first_report: int
    ) -> SignalChange:
        """Return the record of a step."""
        name = self._pipeline.name
        signal = f"{name}|{preset.name}|{state.drug}|{state.event}|{held.opened_at}"
        return SignalChange(
            id=f"{signal}|{held.revision}",
            signal_id=signal,
            pipeline=name,
            preset=preset.name,
            preset_version=preset.version,
            code_version=CODE_VERSION,
            drug=state.drug,
            event=state.event,
            step=step,
            revision=held.revision,
            opened_at=held.opened_at,
            first_report=first_report,
            time=state.time,
            state=state,
        )

    def pack(self) -> bytes:
        """Return the book as bytes."""
        return msgspec.msgpack.encode([[*key, held] for key, held in self._held.items()])

    def load(self, packed: bytes) -> None:
        """Take over a packed book."""
        rows = msgspec.msgpack.decode(packed, type=list[tuple[int, int, Held]])
        self._held = {(pair, which): held for pair, which, held in rows}


def strength_of(preset: Preset, values: dict[str, Any]) -> Any:
    """Return the strength of pairs under a preset, log2 of its strictest measure; -inf where not defined."""
    name = preset.leading.statistic
    x = values[name]
    if name == "ic025":
        return np.where(np.isfinite(x), x, -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        # An infinite ratio is as strong as can be told; its steps end there.
        return np.where(np.isnan(x), -np.inf, np.log2(np.minimum(x, 1e12)))
