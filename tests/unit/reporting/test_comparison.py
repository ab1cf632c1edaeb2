"""A comparison's record, table, front and page."""

import json
import re

import pytest

from secateur.errors import ArtifactError
from secateur.reporting.compared import page, render
from secateur.reporting.comparison import FILE_NAME, Comparison, spread
from secateur.reporting.rendering import digest, file_text
from secateur.reporting.standings import (
    about_failures,
    axes,
    front,
    headline,
    standings,
    terminal,
    winner,
)
from unit.reporting.contests import contest


@pytest.fixture(scope="module")
def made():
    return contest()


def cells(made: Comparison, name: str) -> dict[str, str]:
    table = standings(made)
    row = next(row for row in table.rows if row.name == name)
    return {title: cell.text for (title, _), cell in zip(table.columns, row.cells, strict=True)}


def test_a_record_survives_its_file(made, tmp_path):
    made.save(tmp_path)
    assert Comparison.load(tmp_path) == made
    told = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({**told, "format": 99}))
    with pytest.raises(ArtifactError, match="another version"):
        Comparison.load(tmp_path)
    with pytest.raises(ArtifactError, match="no record"):
        Comparison.load(tmp_path / "nothing.json")


def test_a_spread_is_that_of_what_is_known():
    told = spread([0.94, None, 0.96, float("nan")])
    assert told.mean == pytest.approx(0.95)
    assert (told.low, told.high) == (0.94, 0.96)
    assert spread([0.5]).deviation is None
    assert spread([None]) is None


def test_the_table_holds_means_over_seeds_and_ratios_to_the_baseline(made):
    taylor = cells(made, "taylor")
    assert taylor["Accuracy"] == "95.0\u00a0%"
    assert taylor["Change, points"] == "±0.0"
    assert taylor["ONNX Runtime, batch 1"] == "2.00×"
    assert taylor["OpenVINO, batch 32"] == "2.00×"
    assert taylor["File"] == "48.8\u00a0KiB"
    assert cells(made, "baseline")["ONNX Runtime, batch 1"] == "1.00×"
    assert cells(made, "half")["Change, points"] == "−15.0"
    assert cells(made, "broken")["Accuracy"] == "failed"


def test_the_front_is_beaten_by_nobody(made):
    for axis in axes(made):
        assert front(made, axis) == ("half", "taylor")
    assert [row.name for row in standings(made).rows if row.best] == ["taylor", "half"]


def test_equals_stand_on_the_front_together(made):
    twin = made.entrants[0].model_copy(update={"name": "twin"})
    both = made.model_copy(update={"entrants": (made.entrants[0], twin)})
    assert front(both, axes(both)[0]) == ("taylor", "twin")


def test_the_winner_keeps_within_a_point(made):
    assert winner(made).name == "taylor"
    assert headline(made) == "taylor is 2.0 times as fast (±0.0 points)"
    lost = made.model_copy(update={"entrants": made.entrants[1:]})
    assert headline(lost) == "No contender keeps within a point of the baseline"
    none = made.model_copy(update={"entrants": made.entrants[3:]})
    assert headline(none) == "No contender came through"


def test_what_failed_says_why_and_where(made):
    assert about_failures(made) == (
        "half: keep: the pattern 'x' matches no layer. (seed 1)",
        "broken: keep: the pattern 'x' matches no layer.",
    )
    assert [each.name for each in made.came_through] == ["taylor", "beaten", "half"]


def test_one_runtime_that_fails_leaves_the_others(made):
    first = made.entrants[0].trials[0]
    broken = first.written[1].model_copy(update={"failure": "no such operation"})
    trial = first.model_copy(update={"written": (first.written[0], broken)})
    entrant = made.entrants[0].model_copy(update={"trials": (trial,)})
    changed = made.model_copy(update={"entrants": (entrant,)})
    found = cells(changed, "taylor")
    assert found["ONNX Runtime, batch 1"] == "2.00×"
    assert found["OpenVINO, batch 1"] == "–"
    assert about_failures(changed) == ("taylor: no such operation",)


def test_a_terminal_shows_every_contender(made):
    quality, speed = terminal(made)
    assert [row[0] for row in quality[2]] == [
        "baseline",
        "taylor",
        "beaten",
        "half",
        "broken (failed)",
    ]
    assert quality[2][1][1] == "95.0 % ±1.4"
    assert speed[1][1] == "ONNX RT\nbatch 1"
    assert speed[2][4][1:] == ["", "", "", ""]


def test_the_page_is_one_file_that_asks_for_nothing(made, tmp_path):
    text = page(made, tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert f"script-src 'sha256-{digest(file_text('common.js'))}'" in text
    assert text.count("<script>") == 1
    for each in (made.baseline, *made.entrants):
        assert f'<tr data-name="{each.name}"' in text
    assert "failed: keep: the pattern" in text
    assert "prune: half is gone" in text
    assert text.count('<figure class="pareto"') == len(axes(made)) == 8
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_a_regression_is_told_by_r2():
    made = contest(task="regression")
    assert cells(made, "taylor")["R²"] == "0.950"
    assert headline(made) == "taylor is 2.0 times as fast (0 R²)"
    assert "R² against" in render(made)


def test_words_of_a_user_are_no_markup():
    made = contest(name="<script>alert(1)</script>")
    entrant = made.entrants[0].model_copy(update={"name": "<b>bold</b>", "steps": "<i>"})
    text = render(made.model_copy(update={"entrants": (entrant,)}))
    assert "<b>bold" not in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_comparison_that_nobody_came_through_has_a_page(made):
    text = render(made.model_copy(update={"entrants": made.entrants[3:]}))
    assert "No contender came through" in text
    assert 'id="front"' not in text
