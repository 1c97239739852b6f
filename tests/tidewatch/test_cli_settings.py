"""A setting that makes no sense is told by its name, without its value, which may be a password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tidewatch.exits import Exit


def test_a_wrong_setting_is_told_by_its_name(tmp_path: Path) -> None:
    wrong = {"TIDEWATCH_METRICS_PORT": "secret", "TIDEWATCH_SASL_MECHANISM": "MAGIC"}
    done = subprocess.run(
        [sys.executable, "-m", "tidewatch", "topics", "list"],
        env=os.environ | wrong, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == Exit.USAGE
    assert "TIDEWATCH_METRICS_PORT: Input should be a valid integer" in done.stderr
    assert "TIDEWATCH_SASL_MECHANISM: Input should be" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
