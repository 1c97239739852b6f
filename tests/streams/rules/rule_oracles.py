"""Rules restated one sample at a time in plain Python, and batches for rules and oracles."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, isnan, sqrt

import numpy as np
from hypothesis import strategies as st

from streams.rules.base import Rule, Samples, Transition


@dataclass(frozen=True)
class Row:
    group: int
    time: int
    value: float


def watermarks(rows, delay=300):
    seen = np.maximum.accumulate([row.time for row in rows])
    return seen.astype(np.int64) - delay


def samples(rows, marks, start=0):
    n = len(rows)
    return Samples(
        n_groups=1 + max((row.group for row in rows), default=0),
        group=np.array([row.group for row in rows], dtype=np.int32),
        time=np.array([row.time for row in rows], dtype=np.int64),
        value=np.array([row.value for row in rows], dtype=np.float64),
        cause=np.arange(start, start + n, dtype=np.int64),
        watermark=np.asarray(marks, dtype=np.int64),
    )


def facts(transition: Transition):
    t = transition
    return (t.cause, t.group, t.state, t.severity, t.revision, t.opened_at, t.time)


def run_whole(rule: Rule, rows):
    return rule.update(samples(rows, watermarks(rows)))


def run_cut(declaration, rows, cuts):
    """Feed the rows cut at the given places, each piece to a rule restored from the one before."""
    marks, found, state = watermarks(rows), [], b""
    edges = [0, *sorted(cuts), len(rows)]
    for a, b in pairwise(edges):
        rule = declaration.build()
        rule.restore(state)
        found += rule.update(samples(rows[a:b], marks[a:b], a))
        state = rule.snapshot()
    return found, state


@dataclass
class Ledger:
    """Opens, updates and closes of one group."""

    level: int = 0
    opened_at: int | None = None
    revision: int = -1

    def move(self, level, time):
        if level == self.level:
            return None
        if self.level == 0:
            state, self.revision = "open", 0
            self.opened_at = time if self.opened_at is None else max(time, self.opened_at + 1)
        else:
            state = "update" if level else "close"
            self.revision += 1
        self.level = level
        return state, "critical" if level == 2 else "warning", self.revision, self.opened_at, time


@dataclass
class Latches:
    ledger: Ledger = field(default_factory=Ledger)
    on: bool = False
    severe: bool = False
    run: int = 0

    def judge(self, score, time, limits, for_samples):
        gap = limits.raise_above - limits.clear_at
        self.run = self.run + 1 if score > limits.raise_above else 0
        if score > limits.raise_above and self.run >= for_samples:
            self.on = True
        if score <= limits.clear_at:
            self.on = False
        if score > limits.critical_above:
            self.severe = True
        elif score <= limits.critical_above - gap:
            self.severe = False
        return self.ledger.move((2 if self.severe else 1) if self.on else 0, time)


def oracle_threshold(declared, rows):
    groups, found = {}, []
    for i, row in enumerate(rows):
        if isnan(row.value):
            continue
        latches = groups.setdefault(row.group, Latches())
        moved = latches.judge(declared.sign * row.value, row.time, declared.limits(), declared.for_samples)
        found += [(i, row.group, *moved)] if moved else []
    return found


def oracle_robust_z(declared, rows):
    groups, found = {}, []
    for i, row in enumerate(rows):
        if not isfinite(row.value) or abs(row.value) > 1e150:
            continue
        history, latches = groups.setdefault(row.group, ([0, 0.0, 0.0], Latches()))
        seen, mean, var = history
        d, sd = row.value - mean, max(sqrt(var), declared.min_sd)
        z = d / sd if seen >= declared.warmup else 0.0
        score = {"both": abs(z), "above": z, "below": -z}[declared.side]
        moved = latches.judge(score, row.time, declared.limits(), declared.for_samples)
        if seen >= declared.warmup:
            d = min(max(d, -declared.clip * sd), declared.clip * sd)
        a = max(declared.alpha, 1.0 / (seen + 1))
        history[:] = seen + 1, mean + a * d, (1.0 - a) * (var + a * d * d)
        found += [(i, row.group, *moved)] if moved else []
    return found


def oracle_flatline(declared, rows):
    groups, found = {}, []
    for i, row in enumerate(rows):
        if not isfinite(row.value):
            continue
        run, ledger = groups.setdefault(row.group, ({"anchor": None}, Ledger()))
        stays = run["anchor"] is not None and abs(row.value - run["anchor"]) <= declared.tolerance
        if stays:
            run["length"] += 1
        else:
            run.update(anchor=row.value, since=row.time, length=1)
        stuck = run["length"] >= declared.min_samples and row.time - run["since"] >= declared.duration_ms
        moved = ledger.move(int(stuck or (stays and ledger.level == 1)), row.time)
        found += [(i, row.group, *moved)] if moved else []
    return found


def oracle_silence(declared, rows, marks=None):
    """Judge every known group after every row."""
    last, ledgers, found = {}, {}, []
    for i, (row, mark) in enumerate(zip(rows, watermarks(rows) if marks is None else marks, strict=True)):
        last[row.group] = max(row.time, last.get(row.group, row.time))
        for group in sorted(last):
            ledger, deadline = ledgers.setdefault(group, Ledger()), last[group] + declared.duration_ms
            silent = int(mark) >= deadline
            moved = ledger.move(int(silent), deadline if silent else row.time)
            found += [(i, group, *moved)] if moved else []
    return found


def batches(values, *, max_group=3, max_size=60):
    """Rows with event times that mostly rise, and places to cut them."""
    row = st.tuples(st.integers(0, max_group), st.integers(-400, 900), values)
    return st.lists(row, max_size=max_size).flatmap(
        lambda drawn: st.tuples(
            st.just([Row(g, 10_000 + 200 * i + jump, v) for i, (g, jump, v) in enumerate(drawn)]),
            st.lists(st.integers(0, len(drawn)), max_size=4),
        )
    )
