"""Compiled loops are kept by the source of all of them, since they are compiled into one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas import compiled, json_kernel, lexicon_kernel


def test_loops_are_kept_where_their_sources_say() -> None:
    place = compiled.cache_place()
    assert place.name.startswith("loops-")
    for loop in (json_kernel._read, lexicon_kernel.code_of):
        assert Path(loop.stats.cache_path).is_relative_to(place)


def test_a_change_in_any_loop_moves_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "streams" / "deep").mkdir(parents=True)
    monkeypatch.setattr(compiled, "_ROOT", tmp_path)
    places = set()
    for name, text in [("a", "1"), ("b", "1"), ("b", "2"), ("deep/c", "3")]:
        (tmp_path / "streams" / f"{name}_kernel.py").write_text(text)
        places.add(compiled.cache_place.__wrapped__())
    assert len(places) == 4


def test_the_cache_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_place.__wrapped__().is_relative_to(tmp_path)
