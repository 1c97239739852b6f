"""Times as people write them."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.errors import MappingError
from producers.times import TimeForm, to_milliseconds

MOMENT = 1_385_000_000_123


def parsed(texts: list[object], form: str = "auto", zone: str = "UTC") -> list[int | None]:
    times, valid = to_milliseconds(pd.Series(texts, dtype=object), TimeForm(form, zone))
    return [int(t) if ok else None for t, ok in zip(times, valid, strict=True)]


@pytest.mark.parametrize(
    "text", ["1385000000.123", "1385000000123", "1385000000123000", "1385000000123000000"]
)
def test_an_epoch_number_tells_its_unit_by_its_size(text: str) -> None:
    assert parsed([text]) == [MOMENT]


@given(moment=st.integers(1_000_000_000_000, 4_000_000_000_000))
def test_no_millisecond_is_lost_to_rounding(moment: int) -> None:
    assert parsed([str(moment / 1000)], "s") == [moment]
    assert parsed([str(moment * 1000)], "us") == [moment]
    assert parsed([str(moment * 1_000_000)], "ns") == [moment]


def test_offsets_and_naive_times_may_be_mixed() -> None:
    texts: list[object] = [
        "2013-07-01T12:00:00Z",
        "2013-07-01T12:00:00+02:00",
        "2013-07-01 12:00:00",
        "nonsense",
        None,
    ]
    noon = 1_372_680_000_000
    assert parsed(texts, zone="America/New_York") == [
        noon,
        noon - 7_200_000,
        noon + 4 * 3_600_000,
        None,
        None,
    ]


def test_local_times_that_do_not_exist_or_happen_twice_are_no_times() -> None:
    texts: list[object] = ["2013-03-10 02:30:00", "2013-11-03 01:30:00", "2013-11-03 03:30:00"]
    assert parsed(texts, zone="America/New_York") == [None, None, 1_383_467_400_000]


def test_a_pattern_reads_what_iso_does_not() -> None:
    assert parsed(["21/11/2013 02:13"], "%d/%m/%Y %H:%M") == [1_385_000_000_000 - 20_000]


def test_a_column_of_timestamps_is_taken_as_it_is() -> None:
    column = pd.Series(pd.to_datetime(["2013-11-21T02:13:20.123", None], format="ISO8601"))
    times, valid = to_milliseconds(column, TimeForm())
    assert (times.tolist(), valid.tolist()) == ([MOMENT, 0], [True, False])


@pytest.mark.parametrize(
    ("form", "zone", "told"), [("minutes", "UTC", "minutes"), ("auto", "Mars/Base", "Mars/Base")]
)
def test_a_wrong_form_or_zone_is_refused_by_name(form: str, zone: str, told: str) -> None:
    with pytest.raises(MappingError, match=told):
        TimeForm(form, zone)
