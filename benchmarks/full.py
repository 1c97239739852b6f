"""``tidewatch bench full``: all systems on all scenarios and latency, resumed where an earlier run was interrupted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks import latency
from benchmarks.drain import Say
from benchmarks.families import families
from benchmarks.figures import ratios, summary
from benchmarks.ledger import Ledger, Paced
from benchmarks.rounds import Rounds
from benchmarks.throughput import UnknownSystemError, minutes

SHARES = (0.5, 0.8)
"""Of the sustained rate, at which latency is measured."""
ALL = 1.0
"""The share at which as much is sent as a full topic was drained at: what is processed of it, beside writing it, is sustained."""


@dataclass(frozen=True)
class FullPlan:
    """What to measure: all scenarios and systems where none are named; ``latency_seconds`` of 0 leaves latency out."""

    scenarios: Sequence[str] = ()
    names: Sequence[str] = ()
    rounds: int = 3
    scale: float = 1.0
    latency_seconds: float = 30.0


def measure(plan: FullPlan, ledger: Ledger, say: Say) -> dict[str, Any]:
    """Measure what the ledger lacks, round after round over all scenarios, then latency; return the report.

    Raises UnknownSystemError, and BrokerError where no local Kafka starts.
    """
    every = families()
    unknown = [name for name in plan.scenarios if name not in every]
    if unknown:
        raise UnknownSystemError(f"no scenario {', '.join(unknown)}; there are {', '.join(every)}")
    scenarios = {
        name: Rounds(
            name,
            every[name],
            [s for s in every[name].systems().values() if not plan.names or s.name in plan.names],
            ledger,
            say,
            plan.scale,
        )
        for name in plan.scenarios or every
    }
    say(
        f"about {minutes(_seconds(plan, scenarios, ledger))} if nothing else is at work; once interrupted, it goes on there"
    )
    for number in range(1, plan.rounds + 1):
        for rounds in scenarios.values():
            rounds.run([number])
    if plan.latency_seconds > 0:
        _latency(plan, ledger, say)
    return report(ledger) | {
        "skipped": {name: rounds.skipped for name, rounds in scenarios.items() if rounds.skipped}
    }


def _seconds(plan: FullPlan, scenarios: Mapping[str, Rounds], ledger: Ledger) -> float:
    drains = sum(rounds.seconds([n]) for rounds in scenarios.values() for n in range(1, plan.rounds + 1))
    if not plan.latency_seconds:
        return drains
    paced = len(SHARES) + 1 - len(ledger.paced)
    return drains + paced * (latency.STARTED + latency.Pace().warm_up + plan.latency_seconds)


def report(ledger: Ledger) -> dict[str, Any]:
    """Return the figures and ratios of each scenario in a ledger, and latency by share of the sustained rate."""
    found = {name: summary(ledger.drains, name) for name in dict.fromkeys(e.scenario for e in ledger.drains)}
    return {
        "scenarios": {
            name: {
                "systems": [msgspec.to_builtins(each) for each in systems.values()],
                "ratios": ratios(systems),
            }
            for name, systems in found.items()
        },
        "latency": [msgspec.to_builtins(paced) for paced in ledger.paced],
    }


def _latency(plan: FullPlan, ledger: Ledger, say: Say) -> None:
    ours = summary(ledger.drains, "plain").get("tidewatch")
    if ours is None or not ours.correct or not ours.events_per_s:
        say(
            "latency is left out: the rate at which a full topic is drained, and with it what is too much, is not known"
        )
        return
    found = {paced.share: paced for paced in ledger.paced}
    if ALL not in found:
        found[ALL] = _paced(ledger, ALL, latency.Pace(int(ours.events_per_s), 10.0, warm_up=5.0), say)
    sustained = found[ALL].report["processed_per_s"]
    for share in (share for share in SHARES if share not in found):
        _paced(ledger, share, latency.Pace(int(sustained * share), plan.latency_seconds), say)


def _paced(ledger: Ledger, share: float, pace: latency.Pace, say: Say) -> Paced:
    load = round(os.getloadavg()[0], 2)
    found = latency.measure(pace, say)
    paced = Paced(share, pace.rate, load, found)
    ledger.append(paced)
    say(
        f"latency at {share:.0%} ({pace.rate:,} events/s, of which {found['processed_per_s']:,} were processed): "
        f"alerts {found['alerts_ms']}, windows {found['windows_ms']}"
    )
    return paced
