"""Rows against rows: what is missing, what is too much, what does not count."""

from __future__ import annotations

from typing import Any

from benchmarks.counts import Rows


def test_what_is_missing_and_what_is_wrong_is_told() -> None:
    answer = Rows([(1, 2.0), (1, 2.0), (3, 4.0)])

    def judge(*found: tuple[Any, ...]) -> list[str]:
        return answer.judge(
            lambda value: [found[int(value)]], [b"%d" % i for i in range(len(found))], sketch=False
        )

    assert judge((3, 4.0), (1, 2.0), (1, 2.0 + 1e-9)) == []
    assert judge((1, 2.0), (3, 4.0)) == ["1 of 3 rows are missing, such as (1, 2.0)"]
    assert judge((1, 2.0), (1, 2.0), (3, 4.0), (3, 4.0)) == ["1 of 3 rows are wrong, such as (3, 4.0)"]
    assert len(answer) == 3


def test_what_closes_windows_is_told_from_the_rest() -> None:
    assert Rows([(1,)]).wanted(b"closer-1")
    assert not Rows([(1,)], "closer-").wanted(b'{"sensor":"closer-1"}')
    assert Rows([(1,)], "closer-").wanted(b'{"sensor":"s-1"}')
