"""The code on docs/sinks.md works as it stands there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from sinks.signing import SIGNATURE, TIMESTAMP, signature
from tests.sinks.results import alert
from tests.sinks.test_webhook import results

PAGE = Path(__file__).parents[2] / "docs" / "sinks.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def block(name: str) -> dict[str, Any]:
    (code,) = [each for each in BLOCKS if name in each]
    names: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), names)
    return names


def test_the_sink_of_ones_own_takes_a_result_twice_as_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = block("class SqliteSink")["SqliteSink"]()
    sink.setup()
    for _ in range(2):
        assert sink.write(results(alert(0), alert(1))) == 2
    assert sink.db.execute("SELECT count(*) FROM alert").fetchall() == [(2,)]
    sink.close()


def test_the_receiver_tells_signed_requests_from_others() -> None:
    handle, now = block("def handle")["handle"], int(time.time())
    headers = {TIMESTAMP: str(now), SIGNATURE: signature(b"s", now, b"{}")}
    assert (handle(b"s", headers, b"{}"), handle(b"s", headers, b"[]")) == (200, 401)
