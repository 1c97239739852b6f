"""Loads, stores and copies at addresses, for compiled loops over bytes; nothing here checks a bound.

Arrays handed from one compiled function to another are counted as references, at several atomic steps a call; in a loop over
records that would cost more than the work. Their owners keep them alive and pass ``array.ctypes.data`` instead.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _loader(width: int, result: Any, doc: str) -> Any:
    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            pointer = builder.inttoptr(arguments[0], ir.IntType(width).as_pointer())
            value = builder.load(pointer, align=1)
            return builder.zext(value, ir.IntType(64)) if width < 32 else _widened(builder, value)

        return result(types.int64), codegen

    load.__doc__ = doc
    return load


def _widened(builder: Any, value: Any) -> Any:
    return value if value.type.width == 64 else builder.sext(value, ir.IntType(64))


byte_at = _loader(8, types.int64, "Return the byte at an address, 0 to 255.")
int32_at = _loader(32, types.int64, "Return the signed 32-bit integer at an address.")
int64_at = _loader(64, types.int64, "Return the signed 64-bit integer at an address.")
word_at = _loader(
    64, types.uint64, "Return eight bytes at an address, the first lowest (little-endian machines)."
)


def _storer(width: int, doc: str) -> Any:
    @intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            pointer = builder.inttoptr(arguments[0], ir.IntType(width).as_pointer())
            stored = arguments[1] if width == 64 else builder.trunc(arguments[1], ir.IntType(width))
            builder.store(stored, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    store.__doc__ = doc
    return store


put_byte = _storer(8, "Store the lowest 8 bits of an integer.")
put_int32 = _storer(32, "Store the lowest 32 bits of an integer.")
put_int64 = _storer(64, "Store an integer of 64 bits.")


@intrinsic
def copy(typingctx: Any, to: Any, source: Any, size: Any) -> Any:  # noqa: ARG001
    """Copy ``size`` bytes between places that do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        target, origin = (builder.inttoptr(address, cgutils.voidptr_t) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, origin, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, word: Any) -> Any:  # noqa: ARG001
    """Return how many of the lowest bits of a word, which is not zero, are zero."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen
