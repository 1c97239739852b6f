"""Threads that decode a struct for the first time at once crash the process, unless it was settled before."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
import msgspec
from streams.structs import settle

class Part(msgspec.Struct, array_like=True):
    text: str
    position: int

sys.setswitchinterval(1e-5)
for _ in range(1_000):
    class Whole(msgspec.Struct, array_like=True):
        owner: str
        positions: dict[str, int]
        parts: list[Part]

    data = msgspec.msgpack.encode(Whole("a", {"t": 2}, [Part("a", 1)]))
    settle()
    gate = threading.Barrier(4)

    def decode():
        gate.wait()
        assert msgspec.msgpack.decode(data, type=Whole).parts[0].position == 1

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del Whole
"""


def test_threads_may_decode_settled_structs_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
