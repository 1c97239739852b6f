"""What sequential monitoring promises, in seeded simulation: ``python -m benchmarks.signals.sequential [RUNS]``."""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

from streams.signals.calibration import Null, calibrated_critical_value, fit_null
from streams.signals.maxsprt import Surveillance, critical_value, poisson_llr
from streams.signals.maxsprt_group import Looks

Floats = NDArray[np.float64]


def signal_times(
    plan: Surveillance, critical: float, risk: float, runs: int, rng: np.random.Generator
) -> Floats:
    """Return the expected count by which each simulated surveillance signals, infinite where it never does."""
    most = int(risk * plan.horizon + 12 * np.sqrt(risk * plan.horizon) + 30)
    arrivals = np.cumsum(rng.exponential(1 / risk, (runs, most)), axis=1)
    n = np.arange(1, most + 1)
    above = (poisson_llr(n, arrivals) > critical) & (n >= plan.minimum) & (arrivals <= plan.horizon)
    return np.where(above.any(axis=1), np.where(above, arrivals, np.inf).min(axis=1), np.inf)


def group_signals(
    plan: Looks, critical: float, log_risk: Floats, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which simulated surveillances signal, one for each true log relative risk."""
    means = np.exp(log_risk)[:, None] * np.array(plan.groups)
    counts = np.cumsum(rng.poisson(means), axis=1)
    return np.asarray((counts >= plan.boundary(critical)).any(axis=1))


def estimated_null(truth: Null, controls: int, expected: float, rng: np.random.Generator) -> Null:
    """Fit the null to negative controls of which each was seen against ``expected`` events."""
    counts = np.maximum(rng.poisson(expected * np.exp(rng.normal(truth.mean, truth.sd, controls))), 1)
    return fit_null(np.log(counts / expected), 1 / np.sqrt(counts))


def calibrated(runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Compare false signals under a biased null with and without calibration, the null itself estimated each time."""
    truth, plan, networks = Null(0.2, 0.2), Looks((2.0,) * 12), 20
    plain, found = (
        plan.critical_value(),
        {"uncalibrated": 0.0, "calibrated": 0.0, "calibrated_null_known": 0.0},
    )
    known = calibrated_critical_value(plan, truth)
    for _ in range(networks):
        bias = rng.normal(truth.mean, truth.sd, runs // networks)
        critical = calibrated_critical_value(plan, estimated_null(truth, 200, 100.0, rng))
        for name, value in (
            ("uncalibrated", plain),
            ("calibrated", critical),
            ("calibrated_null_known", known),
        ):
            found[name] += float(group_signals(plan, value, bias, rng).mean()) / networks
    return {name: round(share, 4) for name, share in found.items()}


def main() -> None:
    """Simulate and print one JSON object."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rng = np.random.default_rng(20_261_128)
    plan = Surveillance(20.0)
    critical = critical_value(plan)
    alone, raised = (signal_times(plan, critical, risk, runs, rng) for risk in (1.0, 2.0))
    detected = raised[np.isfinite(raised)]
    group = Looks((1.0,) * 20)
    found = {
        "runs": runs,
        "critical": round(critical, 6),
        "type_1_error": round(float(np.isfinite(alone).mean()), 4),
        "power_at_2": round(float(np.isfinite(raised).mean()), 4),
        "median_expected_events_to_detect_2": round(float(np.median(raised)), 2),
        "mean_expected_events_to_detect_2": round(float(detected.mean()), 2),
        "type_1_error_of_20_looks": round(
            float(group_signals(group, group.critical_value(), np.zeros(runs), rng).mean()), 4
        ),
        "biased_null": calibrated(runs, rng),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
