"""Rules files: everything wrong is said, each with its line."""

import pytest

from streams.rules.base import Declaration
from streams.rules.rulefile import RuleFileError, pipeline_of, read_rules
from streams.rules.ruleset import Ruleset, rule_of
from streams.rules.threshold import Threshold

GOOD = """
pipeline: air-quality
rules:
  - {name: hot, kind: threshold, source: mean, above: 35, clear: 30.5, where: {quantity: temperature}}
  - name: rising
    kind: rate_of_change
    above: 5
    per_ms: 60000
  - {name: shape, kind: quantile_shift, raise_at: 3, levels: [0.5, 0.9], measure: quantile}
  - {name: both, kind: composite, of: [hot, rising], within_ms: 60000}
  - {name: stuck, enabled: false}
mutes:
  - {name: works, rules: [hot], start: 2026-02-01T08:00:00+01:00, end: 2026-02-01T17:00:00+01:00}
  - {name: nights, days: [sat, sun], at: "22:30", minutes: 480}
"""
DECLARED: list[Declaration] = [Threshold("high", above=1.0)]


def problems(text: str, **more: object) -> list[tuple[int, str]]:
    with pytest.raises(RuleFileError) as caught:
        read_rules(text, DECLARED, **more)  # type: ignore[arg-type]
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_a_good_file_becomes_specs_that_build_the_rules() -> None:
    file = read_rules(GOOD, DECLARED, ("sensor_id", "quantity"))
    assert file.pipeline == pipeline_of(GOOD) == "air-quality"
    ruleset = Ruleset.of(DECLARED, file.specs)
    assert [rule.declaration.name for rule in ruleset.rules] == ["high", "both", "hot", "rising", "shape"]
    hot = rule_of(file.specs["hot"])
    assert hot.covers({"quantity": "temperature"})
    assert not hot.covers({"quantity": "humidity"})
    assert ruleset.muted_by("hot", {}, 1_769_932_800_000) == "works"  # 2026-02-01T08:00Z
    assert ruleset.muted_by("rising", {}, 1_769_932_800_000) is None


def test_everything_wrong_is_said_with_its_line() -> None:
    text = """pipeline: p
rules:
  - name: a
    kind: threshhold
  - name: b
    kind: threshold
    abov: 3
  - name: c
    kind: threshold
    above: high
  - {kind: silence, duration_ms: 5}
  - name: e
    kind: threshold
    above: 1
    where: {town: x}
extra: 1
"""
    assert problems(text, labels=("site",)) == [
        (4, "a: 'threshhold' is no kind of rule; did you mean 'threshold'?"),
        (7, "b: unknown field 'abov'; did you mean 'above'?"),
        (10, "c: expected `float | null`, got `str`"),
        (11, "a name is missing"),
        (15, "e: groups have no label 'town'; there are: site"),
        (16, "unknown field 'extra'; there are: mutes, pipeline, rules"),
    ]


def test_levels_out_of_order_are_told_at_the_rule() -> None:
    ((line, message),) = problems(
        "pipeline: p\nrules:\n  - {name: x, kind: threshold,\n     above: 1, clear: 2}"
    )
    assert (line, message) == (3, "x: rule 'x': levels must be in order: clear, raise, critical")


def test_references_must_lead_somewhere() -> None:
    text = "pipeline: p\nrules:\n  - name: all\n    kind: composite\n    of:\n      - high\n      - hihg\n"
    assert problems(text) == [
        (7, "'all' names 'hihg', which is no rule it can refer to; did you mean 'high'?")
    ]
    assert problems("pipeline: p\nmutes:\n - {name: m, at: '01:00', minutes: 5, rules: [x]}")[0][0] == 3


def test_names_are_unique_in_a_file_and_keys_in_a_mapping() -> None:
    twice = "pipeline: p\nrules:\n  - {name: a, kind: threshold, above: 1}\n  - {name: a, kind: threshold, above: 2}\n"
    assert problems(twice) == [(4, "the name 'a' is taken by line 3")]
    assert problems("pipeline: p\npipeline: q\n") == [(2, "'pipeline' is there twice")]


@pytest.mark.parametrize(
    "text", ["", "- a\n", "pipeline: [\n", "pipeline: 3\n", "pipeline: p\nrules: 3\n", "a: !!python/x 1\n"]
)
def test_what_is_no_rules_file_is_told(text: str) -> None:
    assert problems(text)
    assert problems("pipeline: p\nrules:\n  - x\n") == [(3, "each of the rules is a mapping")]
