"""Seals: state about patients is encrypted by keys of the site before it reaches a checkpoint; the keys never do."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.checkpoint import Restored, block_key
from streams.errors import EngineError, SealedStateError

_SEALED = b"\xc1tw-seal"  # no MessagePack begins with this byte
_NAME, _NONCE, _KEY = 8, 12, 32
VARIABLE = "TIDEWATCH_CHECKPOINT_KEYS"
REMEDY = "make one with 'openssl rand -base64 32'; of several, parted by commas, the newest comes first"


class SealKeysError(EngineError):
    """What should be keys is none."""


class Seals:
    """AES-256-GCM by the keys of a site: the first one seals, each opens what it sealed.

    A seal is bound to the place of what it seals, so that blocks can be neither changed nor moved.
    Raises ValueError for a key that has not 32 bytes, or no key at all.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY for key in keys):
            raise ValueError(f"seals need at least one key, each of {_KEY} bytes")
        self._ciphers = {_name_of(key): AESGCM(key) for key in keys}
        self._newest = _name_of(keys[0])

    @classmethod
    def of(cls, text: str) -> Seals:
        """Take keys in base64, newest first, parted by commas or blanks; raise SealKeysError where they are none."""
        try:
            return cls([base64.b64decode(key, validate=True) for key in text.replace(",", " ").split()])
        except ValueError as error:
            raise SealKeysError(
                f"{VARIABLE} holds something else than keys of {_KEY} bytes in base64: {REMEDY}."
            ) from error

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Return data sealed by the newest key."""
        nonce = secrets.token_bytes(_NONCE)
        return (
            _SEALED + self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, data, _SEALED + place)
        )

    def is_newest(self, data: bytes) -> bool:
        """Return whether data are sealed by the newest key."""
        return data.startswith(_SEALED + self._newest)

    def opened(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed at a place; raise SealedStateError without its key, or where it was changed or moved."""
        name, rest = sealed[len(_SEALED) :][:_NAME], sealed[len(_SEALED) + _NAME :]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SealedStateError(_without(name))
        try:
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], _SEALED + place)
        except InvalidTag as error:
            raise SealedStateError(
                "A block of the checkpoint does not fit its seal: it was changed or moved. "
                "Run 'tidewatch reset --to earliest' (or a time) to recompute."
            ) from error


def place_of(partition: int, key: bytes) -> bytes:
    """Return the place of a block: its partition and the key of its record, the same in a savepoint."""
    return b"%d/" % partition + key


def unseal(restored: Restored, partition: int, private: Collection[str], seals: Seals | None) -> bool:
    """Open the sealed blocks of a checkpoint; return whether some of the ``private`` topics should be sealed anew.

    Raises:
        SealedStateError: a block's key is not there, or it was changed or moved.
    """
    stale = False
    for (entry, transaction), data in restored.blocks.items():
        topic, _, name = entry.partition("\0")
        if seals is not None and topic in private and not seals.is_newest(data):
            stale = True
        if not data.startswith(_SEALED):
            continue
        if seals is None:
            raise SealedStateError(_without(data[len(_SEALED) :][:_NAME]))
        place = place_of(partition, block_key(topic, name, transaction))
        restored.blocks[entry, transaction] = seals.opened(data, place)
    return stale


def _name_of(key: bytes) -> bytes:
    return hashlib.sha256(b"tidewatch seal\0" + key).digest()[:_NAME]


def _without(name: bytes) -> str:
    return (
        f"The checkpoint is sealed by key {name.hex()}, which is not in {VARIABLE}: add it behind the newest. "
        "If it is lost, run 'tidewatch reset --to earliest' (or a time) to recompute."
    )
