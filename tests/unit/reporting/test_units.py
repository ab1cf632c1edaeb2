"""Figures as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.reporting import units


@pytest.mark.parametrize(
    ("format_", "value", "text"),
    [
        (units.count, 0, "0"),
        (units.count, 999, "999"),
        (units.count, 1000, "1.00k"),
        (units.count, 61_690, "61.7k"),
        (units.count, 999_600, "1.00M"),
        (units.count, 11_300_000, "11.3M"),
        (units.count, 2_500_000_000, "2.50G"),
        (units.whole, 336_776, "336,776"),
        (units.size, 512, "512 bytes"),
        (units.size, 1024, "1.00 KiB"),
        (units.size, 246_760, "241 KiB"),
        (units.size, 5 * 1024**2, "5.00 MiB"),
        (units.ms, 0.0123, "0.012 ms"),
        (units.ms, 0.2134, "0.213 ms"),
        (units.ms, 15.92, "15.9 ms"),
        (units.ms, 1234.5, "1,234 ms"),
        (units.percent, 0.9134, "91.3 %"),
        (units.percent, 1.0, "100.0 %"),
        (units.points, -0.0031, "−0.3"),
        (units.points, 0.0149, "+1.5"),
        (units.points, -0.0001, "±0.0"),
        (units.figure, 0.87312, "0.873"),
        (units.figure, -12.345, "−12.3"),
        (units.figure, 0.9999, "1.00"),
        (units.change, -0.0029, "−0.0029"),
        (units.change, 0.0123, "+0.012"),
        (units.ratio, 2.94, "2.9×"),
        (units.ratio, 12.4, "12×"),
        (units.seconds, 3.21, "3.2 s"),
        (units.seconds, 59.97, "1 min 0 s"),
        (units.seconds, 252, "4 min 12 s"),
        (units.seconds, 3725, "1 h 2 min"),
        (units.day, "2026-11-02T09:30:00+00:00", "2 November 2026, 09:30 UTC"),
        (units.day, "some day", "some day"),
    ],
)
def test_a_figure_is_written(format_, value, text):
    assert format_(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    "format_",
    [
        units.count,
        units.whole,
        units.size,
        units.ms,
        units.percent,
        units.points,
        units.figure,
        units.change,
        units.ratio,
        units.seconds,
    ],
)
def test_what_was_not_measured_is_a_dash(format_):
    assert format_(None) == units.NOTHING


@given(st.floats(1e-9, 1e15), st.sampled_from([units.count, units.size, units.ms, units.figure]))
def test_no_figure_is_in_scientific_notation_or_breaks(value, format_):
    text = format_(value)
    assert "e" not in text.replace("bytes", "")
    assert " " not in text
    assert len(text) < 26


def test_things_are_counted_in_words():
    assert units.plural(1, "row") == "1\u00a0row"
    assert units.plural(2000, "class", "classes") == "2,000\u00a0classes"


def test_long_names_break_at_marks_and_are_escaped():
    assert units.breakable("a_b/<i>") == "a_<wbr>b/<wbr>&lt;i&gt;"
