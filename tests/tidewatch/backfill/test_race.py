"""Which stragglers are raced: those that a copy would overtake by far, once, on another worker."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tidewatch.backfill.race import Attempt, to_race

PATIENCE = 5.0


def attempt(job: str, worker: str = "w0", started: float = 0.0, done: int = 0, total: int = 1_000) -> Attempt:
    return Attempt(job, worker, started, done, total)


def test_a_task_far_slower_than_the_others_is_raced_on_a_free_worker() -> None:
    slow = attempt("slow", "w0", done=50)
    assert to_race([slow], [100.0, 120.0, 80.0], ["w1"], 10.0, PATIENCE) == [("slow", "w1")]


def test_a_task_that_does_not_move_at_all_is_raced() -> None:
    assert to_race([attempt("stuck")], [100.0], ["w1"], 10.0, PATIENCE) == [("stuck", "w1")]


def test_nothing_is_raced_early_or_on_its_own_worker_or_without_a_measure() -> None:
    slow = attempt("slow", "w0", done=5)
    assert to_race([slow], [100.0], ["w1"], 4.9, PATIENCE) == []
    assert to_race([slow], [100.0], ["w0"], 10.0, PATIENCE) == []
    assert to_race([slow], [], ["w1"], 10.0, PATIENCE) == []


def test_a_task_that_has_little_left_is_not_raced() -> None:
    # At 20 records a second 5 s are left; a copy at the others' rate would need 10.
    nearly = attempt("nearly", done=900)
    assert to_race([nearly], [100.0], ["w1"], 45.0, PATIENCE) == []


def test_a_task_with_a_duplicate_is_not_raced_again() -> None:
    two = [attempt("slow", "w0"), attempt("slow", "w1", started=6.0)]
    assert to_race(two, [100.0], ["w2"], 20.0, PATIENCE) == []


def test_the_one_with_most_left_comes_first() -> None:
    both = [attempt("b", "w0", done=100), attempt("a", "w1", done=10)]
    assert to_race(both, [1_000.0, 900.0, 950.0], ["w2"], 10.0, PATIENCE) == [("a", "w2")]


@settings(max_examples=200, deadline=None)
@given(
    running=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(0, 50), st.integers(0, 1_000)), max_size=8
    ),
    rates=st.lists(st.floats(1, 1_000), max_size=5),
    free=st.lists(st.sampled_from(["w0", "w1", "w2", "w3"]), max_size=4),
)
def test_a_worker_gets_one_duplicate_at_most_and_a_job_too(
    running: list[tuple[int, int, float, int]], rates: list[float], free: list[str]
) -> None:
    attempts = [attempt(f"j{job}", f"w{worker}", started, done) for job, worker, started, done in running]
    chosen = to_race(attempts, rates, free, 60.0, PATIENCE)
    jobs = [job for job, _ in chosen]
    assert len(set(jobs)) == len(jobs)
    left = list(free)
    for job, worker in chosen:
        left.remove(worker)  # raises where a worker is used more often than it is free
        (one,) = [a for a in attempts if a.job == job]
        assert one.worker != worker
