"""When a group that runs shares out anew because loads have drifted apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.balance import AT_MOST_EVERY, SETTLED, Balance, Note, decode_note, encode_note

UNEVEN = {0: Note("a", 0.6), 1: Note("a", 0.5), 2: Note("b", 0.05), 3: Note("b", 0.05)}


def asks(worker: str, notes: dict[int, Note], seconds: int, begins: tuple[int, ...] = ()) -> list[int]:
    """Return the seconds at which a worker asks the group to share out anew."""
    balance = Balance(worker)
    asked = []
    for second in range(0, seconds, 2):
        if second in begins:
            balance.begin()
        if balance.observe(float(second), notes):
            asked.append(second)
    return asked


def test_only_the_worker_that_is_to_give_asks_and_not_again_for_a_while() -> None:
    first, second = asks("a", UNEVEN, 900)
    assert first == SETTLED
    assert second >= first + AT_MOST_EVERY
    assert asks("b", UNEVEN, 900) == []


def test_loads_have_to_stay_apart() -> None:
    assert asks("a", UNEVEN, 200, begins=(100,)) == []
    assert asks("a", UNEVEN | {2: Note("b", 0.6), 3: Note("b", 0.5)}, 900) == []


def test_nothing_is_asked_where_it_would_change_nothing_or_not_matter() -> None:
    lone = {0: Note("a", 2.0), 1: Note("b", 0.05), 2: Note("b", 0.05)}
    assert asks("a", lone, 900) == []  # it could only hand its trouble on
    idle = {p: Note(note.worker, (note.cost or 0.0) / 10) for p, note in UNEVEN.items()}
    assert asks("a", idle, 900) == []


def test_workers_that_say_nothing_of_their_costs_are_left_in_peace() -> None:
    assert asks("a", UNEVEN | {3: decode_note("")}, 900) == []
    assert asks("a", UNEVEN | {3: Note("b")}, 900) == []


@given(worker=st.text(max_size=5), cost=st.none() | st.floats(0, 9))
def test_notes_arrive(worker: str, cost: float | None) -> None:
    assert decode_note(encode_note(Note(worker, cost))) == Note(worker, cost)


@given(st.text(max_size=20) | st.none())
def test_noise_is_no_note(text: str | None) -> None:
    assert isinstance(decode_note(text), Note)
