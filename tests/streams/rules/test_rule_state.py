import numpy as np
import pytest

from streams.rules.flatline import FlatLine
from streams.rules.robust_z import RobustZ
from streams.rules.silence import Silence
from streams.rules.state import GroupState
from streams.rules.threshold import Threshold

DECLARED = [
    Threshold("t", above=1.0),
    RobustZ("z"),
    FlatLine("f", duration_ms=10),
    Silence("s", duration_ms=10),
]


def test_pack_and_unpack_are_inverse():
    state = GroupState(1, {"a": ("<f8", 0), "b": ("i1", 7)})
    state.cover(np.array([2], dtype=np.int32))
    state["a"][:] = [1.5, -0.0, 3]
    other = GroupState(1, {"a": ("<f8", 0), "b": ("i1", 7)})
    other.unpack(state.pack())
    assert other.pack() == state.pack()
    assert other["b"].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "harm", [lambda s: s[:-1], lambda s: s[:6], lambda s: b"XXXX" + s[4:], lambda s: s + b"0"]
)
def test_unpack_refuses_bytes_that_are_not_its_own(harm):
    state = GroupState(1, {"a": ("<f8", 0)})
    state.cover(np.array([0], dtype=np.int32))
    with pytest.raises(ValueError, match="rule state"):
        state.unpack(harm(state.pack()))


def test_unpack_refuses_another_layout():
    with pytest.raises(ValueError, match="layout 2, not 1"):
        GroupState(1, {"a": ("<f8", 0)}).unpack(GroupState(2, {"a": ("<f8", 0)}).pack())


@pytest.mark.parametrize("declared", DECLARED, ids=lambda d: d.kind)
def test_the_empty_snapshot_restores_the_empty_state(declared):
    rule = declared.build()
    empty = rule.snapshot()
    rule.restore(b"")
    assert rule.snapshot() == empty


@pytest.mark.parametrize("declared", DECLARED, ids=lambda d: d.kind)
def test_rules_answer_for_their_declaration(declared):
    rule = declared.build()
    assert (rule.name, rule.kind, rule.source) == (declared.name, declared.kind, declared.source)
    assert declared.signature().startswith(f"{declared.kind}/1(name={declared.name!r}")
