"""Silences and maintenance windows by event time."""

from datetime import datetime

import pytest

from streams.rules.mutes import Mute


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def covered(mute: Mute, text: str, rule: str = "r", **labels: str) -> bool:
    return mute.covers(rule, labels, at(text))


def test_a_silence_holds_from_its_start_to_just_before_its_end() -> None:
    mute = Mute(
        "m",
        start=datetime.fromisoformat("2026-02-01T08:00:00Z"),
        end=datetime.fromisoformat("2026-02-01T09:00:00Z"),
    )
    assert [covered(mute, f"2026-02-01T0{hour}:00:00Z") for hour in (7, 8, 9)] == [False, True, False]


def test_a_maintenance_window_recurs_on_its_days_and_may_pass_midnight() -> None:
    mute = Mute("m", days=("fri",), at="23:00", minutes=120)  # 2026-02-06 is a Friday
    hours = [
        "2026-02-06T22:59",
        "2026-02-06T23:00",
        "2026-02-07T00:59",
        "2026-02-07T01:00",
        "2026-02-05T23:30",
    ]
    assert [covered(mute, f"{hour}:00Z") for hour in hours] == [False, True, True, False, False]


def test_rules_and_labels_narrow_it() -> None:
    mute = Mute("m", rules=("r",), where={"site": "n"}, at="00:00", minutes=1440)
    assert covered(mute, "2026-02-01T08:00:00Z", site="n")
    assert not covered(mute, "2026-02-01T08:00:00Z", site="s")
    assert not covered(mute, "2026-02-01T08:00:00Z", rule="q", site="n")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"at": "25:00", "minutes": 5},
        {"at": "5", "minutes": 5},
        {"at": "05:00"},
        {"start": datetime(2026, 1, 1), "end": datetime(2026, 1, 2)},
        {"at": "05:00", "minutes": 5, "start": datetime.fromisoformat("2026-02-01T08:00:00Z"),
         "end": datetime.fromisoformat("2026-02-01T09:00:00Z")},
    ],
)  # fmt: skip
def test_a_mute_is_one_or_the_other(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="mute 'm'"):
        Mute("m", **fields)  # type: ignore[arg-type]
