"""Pictures of shapes: what is read, that every kind draws what it says, and the verb."""

import msgspec
import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import norm
from typer.testing import CliRunner

from schemas.shapes import SiteShape
from tidewatch.cli import commands
from tidewatch.shapes import figures
from tidewatch.shapes.series import NoShapesError, Shapes, of_file, of_results

LEVELS = np.linspace(0.01, 0.99, 25)


def shape(site="a", window=0, shift=0.0, family="pm", levels=LEVELS):
    return SiteShape(
        id=f"p|{family}|{site}|{window}", pipeline="p", family=family, site=site, labels={}, start=window * 60_000,
        end=(window + 1) * 60_000, count=9, levels=levels.tolist(), quantiles=(10 + shift + norm.ppf(levels)).tolist(),
        distance=0.0, error=0.1, unusual=0.0, drift=0.0, scores=[],
    )  # fmt: skip


def shapes(name="a", n=40, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, (n, 1)) + rng.normal(2, 0.1, (n, 1)) * norm.ppf(LEVELS)
    return Shapes(name, LEVELS, values, tuple(str(i) for i in range(n)), np.arange(n))


def test_results_are_ordered_and_the_last_of_a_window_counts():
    (series,) = of_results([shape(window=2), shape(window=1, shift=1), shape(window=1, shift=5)], "pm", None)
    assert series.name == "pm/a"
    assert series.labels == ("1970-01-01 00:01", "1970-01-01 00:02")
    np.testing.assert_allclose(series.values[0], 15 + norm.ppf(LEVELS))
    assert [s.name for s in of_results([shape("b"), shape("a")], None, None)] == ["pm/a", "pm/b"]


def test_nothing_to_draw_is_told(tmp_path):
    with pytest.raises(NoShapesError, match="site c"):
        of_results([shape()], None, "c")
    with pytest.raises(NoShapesError, match="different levels"):
        of_results([shape(), shape(window=1, levels=LEVELS[1:])], None, None)
    table = tmp_path / "t.csv"
    table.write_text("day,x\n1,2\n")
    with pytest.raises(NoShapesError, match="no quantile columns"):
        of_file(table)
    table.write_text("day,q01,q99\n1,,3\n")
    with pytest.raises(NoShapesError, match="no complete row"):
        of_file(table)
    lines = tmp_path / "t.jsonl"
    lines.write_text("{}")
    with pytest.raises(NoShapesError, match="no list of site shapes"):
        of_file(lines)
    falling = tmp_path / "falling.csv"
    falling.write_text("day,q10,q50,q90\nmon,1,2,3\ntue,3,2,4\n")
    with pytest.raises(NoShapesError, match="quantiles of tue fall"):
        of_file(falling)
    with pytest.raises(NoShapesError, match="there is no file"):
        of_file(tmp_path / "none.csv")


def test_tables_have_levels_in_their_column_names(tmp_path):
    table = tmp_path / "days.csv"
    table.write_text("q99,day,q01,q0.5,quality\n9,mon,1,5,0\n8,tue,2,4,0\n")
    (series,) = of_file(table)
    assert series.labels == ("mon", "tue")
    np.testing.assert_array_equal(series.levels, [0.01, 0.5, 0.99])
    np.testing.assert_array_equal(series.values, [[1, 5, 9], [2, 4, 8]])


@pytest.mark.parametrize("kind", figures.KINDS)
def test_every_kind_draws_one_and_several_series(kind, tmp_path):
    for series in ([shapes()], [shapes(), shapes("b", seed=1)]):
        path = tmp_path / "picture.png"
        figures.KINDS[kind](series).savefig(path, dpi=60)
        picture = imread(path)[..., :3]
        assert (picture.reshape(-1, 3).std(axis=0) > 0.02).all(), "the picture is blank"


def test_fan_holds_the_quantiles():
    series = shapes(n=7)
    (axis,) = figures.fan([series]).axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), np.median(series.values, axis=1), atol=1e-9)
    assert len(axis.collections) == 3


def test_density_integrates_to_one_and_peaks_where_the_mass_is():
    x, density = figures._density(LEVELS, 10 + norm.ppf(LEVELS))
    assert np.trapezoid(density, x) == pytest.approx(1, abs=0.05)
    assert x[density.argmax()] == pytest.approx(10, abs=0.1)
    tied, heights = figures._density(LEVELS, np.full(25, 3.0))
    assert np.isfinite(heights).all()
    assert tied[heights.argmax()] == pytest.approx(3)


def test_distances_are_w2():
    a, b = shapes(), shapes("b")
    b = Shapes("b", b.levels, b.values + 3, b.labels, b.position)
    image = figures.distances([a, b]).axes[0].images[0].get_array()
    assert image[0, 1] == pytest.approx(3 * np.sqrt(LEVELS[-1] - LEVELS[0]))
    assert image[0, 0] == 0


def test_verb_draws_from_a_file(tmp_path):
    file = tmp_path / "shapes.jsonl"
    rng = np.random.default_rng(3)
    rows = [shape(site, window, rng.normal()) for site in "ab" for window in range(30)]
    file.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    runner = CliRunner()
    arguments = [
        "plot",
        "shape",
        str(file),
        "--kind",
        "fan",
        "--kind",
        "modes",
        "--format",
        "svg",
        "-o",
        str(tmp_path / "out"),
    ]
    done = runner.invoke(commands(), arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fan.svg", "modes.svg"]
    failed = runner.invoke(commands(), ["plot", "shape", str(file), "--site", "c", "-o", str(tmp_path)])
    assert failed.exit_code == 1
    assert "no shapes of family (any) and site c" in failed.output
