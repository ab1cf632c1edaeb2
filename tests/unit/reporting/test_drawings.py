"""Scales have round ticks, drawings are well-formed and say in words what they show."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.reporting import units
from secateur.reporting.bars import bar, dumbbell, heat_map, shade, skyline, stacked
from secateur.reporting.plots import Point, lines, scatter
from secateur.reporting.svg import scale

NASTY = "<script>alert(\"x\")</script> & 'y'"
finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=8), st.booleans())
def test_a_scale_holds_all_values_and_has_ordered_ticks(values, zero):
    line = scale(values, 0, 100, zero=zero)
    assert all(-1e-6 <= line(value) <= 100 + 1e-6 for value in values)
    assert list(line.ticks) == sorted(set(line.ticks))
    assert 2 <= len(line.ticks) <= 9
    assert not zero or line.low <= 0 <= line.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_scale_of_shares_stays_among_shares(values):
    line = scale(values, 200, 0, within=(0, 1))
    assert line.low >= 0
    assert line.high <= 1
    assert all(math.isfinite(line(value)) for value in values)


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


points = st.builds(
    Point,
    st.text("ab<&\"'", max_size=9),
    st.floats(0, 1e9),
    st.floats(0, 1),
    st.sampled_from(["before", "between", "after"]),
)


@given(st.lists(points, min_size=1, max_size=7))
def test_any_stages_make_a_drawing(stages):
    drawing = scatter(
        stages,
        title="Accuracy against size",
        x_name="Size",
        x_text=units.size,
        y_text=units.percent,
        divisor=1024,
        least=0.05,
    )
    svg = parsed(drawing)
    assert len(svg.findall("g")) == len(stages)
    for circle in svg.iter("circle"):
        assert 40 <= float(circle.get("cx", "nan")) <= 390
        assert 0 <= float(circle.get("cy", "nan")) <= 260


def test_names_of_stages_do_not_lie_on_each_other():
    stages = [
        Point("Baseline", 400, 0.911, "before"),
        Point("Cut", 95, 0.31),
        Point("Healed", 95, 0.85),
        Point("Fine-tuned", 95, 0.908),
        Point("Exported", 95, 0.908, "after"),
    ]
    drawing = scatter(stages, title="t", x_name="x", x_text=units.size, y_text=units.percent)
    names = [text for text in parsed(drawing).findall("text") if "name" in text.get("class", "")]
    assert [name.text.replace("\u00a0", " ") for name in names] == [
        "Fine-tuned, Exported 90.8 %",
        "Baseline 91.1 %",
        "Cut 31.0 %",
        "Healed 85.0 %",
    ]
    assert len({(name.get("x"), name.get("y")) for name in names}) == len(names)


def test_a_curve_with_gaps_breaks_and_marks_its_best():
    drawing = lines([3, 2, None, 1], [3, 1.5, 2, None], title="Loss", higher_is_better=False)
    svg = parsed(drawing)
    assert len(svg.findall("polyline")) == 2
    assert "best: 1.50 in epoch 2" in svg.get("aria-label", "")
    assert "training ends at 1.00" in svg.get("aria-label", "")


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5]])
def test_short_curves(values):
    parsed(lines(values, [], title="Loss", higher_is_better=False))
    assert "<svg" in lines([], values, title="Accuracy", higher_is_better=True)


def test_bars_stay_within_their_room():
    for before, after in ((10, 4), (4, 10), (0, 0), (7, 7)):
        for shape in parsed(bar(before, after, max(before, after))):
            assert float(shape.get("x", 0)) + float(shape.get("width", "nan")) <= 100.9
    assert "notch" in bar(4, 10, 10)
    assert "notch" not in bar(10, 4, 10)


def test_a_skyline_has_a_column_a_layer_and_escapes_names():
    svg = parsed(skyline([(NASTY, 8, 4), ("b", 16, 16)]))
    assert len(svg.findall("g")) == 2
    assert svg.find("g/title").text == f"{NASTY}: 8 → 4"
    assert parsed(skyline([])).get("role") == "img"


def test_parts_add_up():
    widths = [
        float(shape.get("width")) for shape in parsed(stacked([("a", 60), ("b", 20)])).iter("rect")
    ]
    assert widths == [75.0, 25.0]


def test_a_dumbbell_draws_what_is_known():
    assert len(parsed(dumbbell(0.5, 0.75, 0.5)).findall("circle")) == 2
    assert len(parsed(dumbbell(None, 1.0, 0.5)).findall("circle")) == 1


@pytest.mark.parametrize("right", [True, False])
def test_shades_grow_with_the_share_and_rare_errors_are_seen(right):
    depths = [int(shade(n / 1000, right=right).rsplit("-")[-1]) for n in range(1001)]
    assert depths == sorted(depths)
    assert set(depths) == set(range(11))
    assert depths[40] == (1 if right else 2)


def test_a_heat_map_draws_each_cell_once_and_few_names():
    many = 100
    counts = [[1 if column in (row, 0) else 0 for column in range(many)] for row in range(many)]
    drawing = heat_map(counts, [f"<{n}>" for n in range(many)], title="Confusion")
    cells = sum(path.get("d", "").count("M") for path in parsed(drawing).iter("path"))
    assert cells == 2 * many - 1
    assert len(parsed(drawing).findall("text")) <= 2 * 46
    assert "<0>" not in re.sub("&lt;", "", drawing)
    assert len(drawing) < 20_000
