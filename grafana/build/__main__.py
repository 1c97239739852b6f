"""Writes every dashboard's JSON to ``grafana/dashboards``."""

from __future__ import annotations

from grafana.build.boards import FOLDER, rendered


def main() -> None:
    """Write the files."""
    for name, text in rendered().items():
        (FOLDER / name).write_text(text)


main()
