"""Draws the picture of the pipeline in the README: ``python docs/pictures/pipeline.py > docs/pictures/pipeline.svg``."""

from __future__ import annotations

import sys

WIDTH, HEIGHT = 960, 345
INK, FAINT, LINE = "#24415c", "#6b7f92", "#3d7ea6"
FILLS = {"producer": "#e8f1f8", "topic": "#fdf3d9", "stream": "#e3f3e6", "sink": "#f3e8f5"}

_WORK = (
    "decode to columns",
    "windows, sketches, alerts",
    "one transaction a commit:",
    "results + position + state",
)
# name, kind, x, y, width, title, lines below it
BOXES = (
    ("producers", "producer", 20, 60, 170, "producers", ("CSV, NDJSON, Parquet", "live sensors, gateways", "simulated city")),
    ("source", "topic", 250, 60, 180, "source topic", ("partitioned by sensor", "JSON or Arrow")),
    ("workers", "stream", 490, 30, 210, "workers", _WORK),
    ("results", "topic", 760, 20, 180, "results", ("a window a group", "with its distribution")),
    ("alerts", "topic", 760, 100, 180, "alerts", ("open, update, close", "with evidence")),
    ("letters", "topic", 760, 180, 180, "late and dead", ("nothing is dropped",)),
    ("checkpoint", "topic", 490, 200, 210, "checkpoint topic", ("what the next owner restores",)),
    ("sinks", "sink", 250, 250, 180, "people and sinks", ("alerts follow, Parquet,", "PostgreSQL, Grafana")),
)  # fmt: skip
# from (x, y) to (x, y), both ends pointed
ARROWS = (
    ((190, 100), (250, 100), False),
    ((430, 100), (490, 100), False),
    ((700, 70), (760, 55), False),
    ((700, 100), (760, 130), False),
    ((700, 125), (760, 205), False),
    ((595, 146), (595, 200), True),
)
_LINE_HEIGHT = 19


def box(kind: str, x: int, y: int, width: int, title: str, lines: tuple[str, ...]) -> str:
    """Return one box with its text."""
    height = 38 + _LINE_HEIGHT * len(lines)
    texts = [f'<text x="{x + 14}" y="{y + 25}" class="title">{title}</text>']
    texts += [
        f'<text x="{x + 14}" y="{y + 27 + _LINE_HEIGHT * i}" class="line">{line}</text>'
        for i, line in enumerate(lines, 1)
    ]
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{FILLS[kind]}"/>' + "".join(
        texts
    )


def arrow(start: tuple[int, int], end: tuple[int, int], both: bool) -> str:
    """Return one arrow."""
    first = ' marker-start="url(#head)"' if both else ""
    return (
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" marker-end="url(#head)"{first}/>'
    )


def draw() -> str:
    """Return the picture as SVG."""
    back = "M 850 237 V 290 H 430"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' aria-label="Events go from producers through a source topic to workers, and from there to results, alerts,'
        ' late and dead letters, which people and sinks read.">',
        "<style>text{font-family:Verdana,DejaVu Sans,sans-serif}"
        f".title{{font-size:15px;font-weight:bold;fill:{INK}}}.line{{font-size:12.5px;fill:{FAINT}}}"
        f"rect{{stroke:{LINE};stroke-opacity:.35}}line,path{{stroke:{LINE};stroke-width:2;fill:none}}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        f' orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" style="fill:{LINE};stroke:none"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff" stroke="none"/>',
        *(box(*rest) for _, *rest in BOXES),
        *(arrow(*one) for one in ARROWS),
        f'<path d="{back}" marker-end="url(#head)"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(draw())
