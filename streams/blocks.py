"""State as named blocks: cut to size, put together again, and only those that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from streams.task import Blocks

BLOCK = 400_000


def cut(kind: str, parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return blocks ``kind/name/number`` of at most ``BLOCK`` bytes."""
    return {
        f"{kind}/{name}/{i:06d}": data[at : at + BLOCK]
        for name, data in parts.items()
        for i, at in enumerate(range(0, max(len(data), 1), BLOCK))
    }


def joined(blocks: Mapping[str, bytes], kind: str) -> dict[str, bytes]:
    """Return the parts of a kind, as given to ``cut``."""
    whole: dict[str, list[bytes]] = {}
    for block in sorted(name for name in blocks if name.startswith(f"{kind}/")):
        whole.setdefault(block.split("/")[1], []).append(blocks[block])
    return {name: b"".join(pieces) for name, pieces in whole.items()}


class Changes:
    """Remembers what each block was, by digest, and says which have changed since."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def since(self, blocks: Mapping[str, bytes], *, full: bool) -> Blocks:
        """Return all blocks, or those changed since the last call (None: gone)."""
        before, self._digests = self._digests, _digests(blocks)
        if full:
            return dict(blocks)
        changed: Blocks = {
            name: data for name, data in blocks.items() if before.get(name) != self._digests[name]
        }
        return changed | dict.fromkeys(before.keys() - blocks.keys())

    def begin(self, blocks: Mapping[str, bytes]) -> None:
        """Take restored blocks for known."""
        self._digests = _digests(blocks)


def _digests(blocks: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: hashlib.blake2b(data, digest_size=16).digest() for name, data in blocks.items()}
