"""The code on docs/sinks.md works as it stands there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from sinks.signing import SIGNATURE, TIMESTAMP, signature

PAGE = Path(__file__).parents[2] / "docs" / "sinks.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def block(name: str) -> dict[str, Any]:
    (code,) = [each for each in BLOCKS if name in each]
    names: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), names)
    return names


def test_the_receiver_tells_signed_requests_from_others() -> None:
    handle, now = block("def handle")["handle"], int(time.time())
    headers = {TIMESTAMP: str(now), SIGNATURE: signature(b"s", now, b"{}")}
    assert (handle(b"s", headers, b"{}"), handle(b"s", headers, b"[]")) == (200, 401)
