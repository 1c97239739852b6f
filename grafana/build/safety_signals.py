"""What the reports say: signals by preset and seriousness, how long they took, and what became of the reports."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from grafana.build.panels import dashboard, lines, tile, variable

CHOSEN = 'pipeline=~"$pipeline"'
PRESET = f'{CHOSEN}, preset=~"$preset"'


def safety_signals() -> build.Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "Safety signals",
        "tidewatch-signals",
        "Signals of disproportionate reporting by preset and seriousness. Pairs by name: in the console and `tidewatch signals`.",
    )
    board = board.with_variable(variable("pipeline", "Pipeline", "tidewatch_signal_pairs", "pipeline"))
    board = board.with_variable(variable("preset", "Preset", "tidewatch_signals_open", "preset"))
    for row in (_tiles, _signals, _reports):
        board = row(board)
    return board


def _tiles(board: build.Dashboard) -> build.Dashboard:
    return (
        board.with_panel(
            tile(
                "Open signals",
                "Signals open now under the chosen presets; a pair counts once for each preset.",
                f"sum(tidewatch_signals_open{{{PRESET}}}) or vector(0)",
                "short",
                [(None, "blue")],
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Of them serious",
                "Open signals of pairs with at least one serious report.",
                f'sum(tidewatch_signals_open{{{PRESET}, seriousness="serious"}}) or vector(0)',
                "short",
                [(None, "green"), (1, "yellow")],
            )
        )
        .with_panel(
            tile(
                "Reports counted",
                "Reports, patients or pairs that count now, of all chosen pipelines.",
                f"sum(tidewatch_signal_reports{{{CHOSEN}}})",
                "short",
                [(None, "blue")],
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Pairs published",
                "Pairs of drug and event with a published state.",
                f"sum(tidewatch_signal_pairs{{{CHOSEN}}})",
                "short",
                [(None, "blue")],
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Median time to signal",
                "From a pair's first report to its signal, in event time; the slowest of the chosen presets.",
                f'max(tidewatch_signal_time_to_signal_seconds{{{PRESET}, quantile="0.5"}})',
                "s",
                [(None, "blue")],
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Age of the newest report",
                "Wall clock less the time of the newest report in the newest state; large where history is replayed.",
                f"time() - max(tidewatch_signal_state_timestamp_seconds{{{CHOSEN}}})",
                "s",
                [(None, "blue")],
                mode="value",
            )
        )
    )


def _signals(board: build.Dashboard) -> build.Dashboard:
    waits = f"max by (preset, quantile) (tidewatch_signal_time_to_signal_seconds{{{PRESET}}})"
    return (
        board.with_row(build.Row("Signals"))
        .with_panel(
            lines(
                "Open signals by preset",
                "By preset and by whether any report of the pair is serious.",
                [
                    (
                        f"sum by (preset, seriousness) (tidewatch_signals_open{{{PRESET}}})",
                        "{{preset}} {{seriousness}}",
                    )
                ],
                "short",
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Steps so far",
                "Signals opened, strengthened, weakened and closed since the topic began.",
                [(f"sum by (step) (tidewatch_signal_steps{{{PRESET}}})", "{{step}}")],
                "short",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Time to signal",
                "From a pair's first report to its signal, in event time: median and 90% by preset.",
                [(waits, "{{preset}} {{quantile}}")],
                "s",
                width=8,
            )
        )
    )


def _reports(board: build.Dashboard) -> build.Dashboard:
    counted = f"sum by (outcome) (rate(tidewatch_reports_total{{{CHOSEN}}}[$__rate_interval]))"
    fits = f"sum by (pipeline) (tidewatch_prior_fits_total{{{CHOSEN}}})"
    return (
        board.with_row(build.Row("Reports"))
        .with_panel(
            lines(
                "What became of reports",
                "Reports a second by outcome: new, changed, repeated, retracted; and what was noticed about them.",
                [(counted, "{{outcome}}")],
                "eps",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Duplicates and retractions so far",
                "Since the workers started.",
                [
                    (
                        f'sum by (outcome) (tidewatch_reports_total{{{CHOSEN}, outcome=~"repeated|possible-duplicate|retracted"}})',
                        "{{outcome}}",
                    )
                ],
                "short",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Fits of the prior",
                "Fits of EBGM's prior to all pairs since the workers started.",
                [(fits, "{{pipeline}}")],
                "short",
                width=8,
            )
        )
    )
