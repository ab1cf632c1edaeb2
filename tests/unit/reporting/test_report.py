"""The page holds what the record holds, escaped, in one file."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from pydantic import ValidationError

from secateur.errors import ArtifactError, OutputError
from secateur.reporting.images import data_uri
from secateur.reporting.mistakes import cards
from secateur.reporting.record import Sample
from secateur.reporting.report import render, report

SECTIONS = (
    *("asked", "result", "stages", "notes", "layers", "cuts", "training", "mistakes"),
    *("samples", "data", "again", "environment"),
)


class Outline(HTMLParser):
    """Gather ids, headings, and tags that were left open."""

    VOID = frozenset(["meta", "link", "img", "input", "br", "wbr"])

    def __init__(self) -> None:
        super().__init__()
        self.ids, self.headings, self.open, self.scripts = [], [], [], []
        self.faults, self.headers_without_scope, self.images_without_alt = [], 0, 0

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        if "id" in held:
            self.ids.append(held["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.scripts.append(held.get("type"))
        self.headers_without_scope += tag == "th" and "scope" not in held
        self.images_without_alt += tag == "img" and not held.get("alt")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def outline(page: str) -> Outline:
    seen = Outline()
    seen.feed(page)
    return seen


def every(runs):
    return {
        "photos": runs.classification(),
        "many classes and layers": runs.classification(100, 200),
        "some classes": runs.classification(26, 40),
        "regression": runs.regression(),
        "troubled": runs.troubled(),
        "hostile": runs.hostile("<script>alert(\"x\")</script> & 'y'"),
        "empty": runs.troubled().model_copy(
            update={"stages": (), "groups": (), "curves": (), "warnings": ()}
        ),
    }


@pytest.fixture(scope="session")
def pages(runs) -> dict[str, str]:
    return {name: render(run) for name, run in every(runs).items()}


def test_every_page_is_well_formed_and_accessible(pages):
    for name, page in pages.items():
        seen = outline(page)
        assert (seen.faults, seen.open) == ([], []), name
        assert len(set(seen.ids)) == len(seen.ids), name
        assert seen.headings[0] == 1, name
        assert seen.headings.count(1) == 1, name
        steps = zip(seen.headings, seen.headings[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), name
        assert (seen.headers_without_scope, seen.images_without_alt) == (0, 0), name
        drawings = re.findall(r"<svg [^>]*>", page)
        named = re.compile('role="(img|group)"|aria-hidden="true"')
        assert all(map(named.search, drawings)), name


def test_nothing_is_fetched(pages):
    for name, page in pages.items():
        outside = re.findall(
            r"(?:src|href|action|url)\s*[=(]\s*[\"']?\s*(?!#|data:)[^\"'\s>]+", page
        )
        assert outside == [], name
        assert not re.search(
            r"@import|//[a-z0-9.-]+\.[a-z]{2,}/", page.replace("www.w3.org", "")
        ), name
        assert len(page) < 1_000_000, name


def test_a_whole_run_has_all_sections(pages):
    ids = outline(pages["photos"]).ids
    assert [key for key in SECTIONS if key not in ids] == []
    linked = re.findall(r'href="#(\w+)"', pages["photos"])
    assert set(linked) <= set(ids)


def test_a_poor_run_leaves_out_what_it_has_not(pages):
    ids = outline(pages["empty"]).ids
    assert [key for key in SECTIONS if key in ids] == []
    assert "warnings" in ids
    assert "Nothing was measured." in pages["empty"]


def test_text_of_users_never_becomes_markup(pages):
    page = pages["hostile"]
    assert "<script>alert" not in page
    assert outline(page).scripts == [None]
    assert page.count("&lt;script&gt;alert") > 40


def test_names_of_classes_are_safe_inside_the_page_s_data(runs):
    run = runs.classification(26, 4)
    bad = ("</script><script>alert(1)</script>", *run.data.classes[1:])
    page = render(run.model_copy(update={"data": run.data.model_copy(update={"classes": bad})}))
    assert outline(page).scripts == ["application/json", None]
    assert "<script>alert" not in page


def test_the_page_says_the_figures(pages):
    page = pages["photos"].replace("\u00a0", " ")
    for text in (
        "2.3–2.6× faster",
        "4.1× smaller",
        "0.268 ms",
        "6.02 ms",
        "91.9 KiB",
        "4.91M",
        "97.4k",
        "secateur run gestures.yaml",
        "2 November 2026",
        "8 min 12 s",
        "least Taylor score",
        "groups left as they were",
    ):
        assert text in page, text
    assert "Class 2: " in page
    assert "more than noise" in page
    assert "R²" not in page


def test_a_regression_is_told_in_its_own_figures(pages):
    page = pages["regression"].replace("\u00a0", " ")
    for text in ("R² 0.0029 lower", "MAE", "RMSE", "row 1000", "3 more columns", "arr_delay"):
        assert text in page, text
    assert "Confused most" not in page
    assert "✗" not in page


def test_warnings_stand_before_the_figures(pages):
    page = pages["troubled"]
    assert page.index("the loss is not a number") < page.index('id="result"')
    assert "yet the measured time did not fall" in page
    assert "Nothing was cut." in page


def test_right_and_wrong_are_told_in_words_too(pages):
    assert '<span class="unseen">wrong</span>' in pages["photos"]
    assert '<span class="unseen">right</span>' in pages["photos"]


def test_a_matrix_of_other_size_than_the_classes_is_numbered(runs):
    run = runs.troubled()
    blank = run.stages[0].metrics.model_copy(update={"per_class": None})
    page = render(
        run.model_copy(update={"stages": (run.stages[0].model_copy(update={"metrics": blank}),)})
    )
    assert '<th scope="row">0</th>' in page


def test_many_heavy_samples_do_not_make_a_heavy_page(runs):
    image = "data:image/png;base64," + "A" * 300_000
    run = runs.classification(images=[image] * 60)
    shown = cards(run)
    assert len(shown) == 24
    assert sum(card.image is not None for card in shown) == 2
    assert "24 of 60" in render(run)
    assert len(render(run)) < 1_000_000


def test_only_pictures_that_are_inside_the_record_are_taken():
    for image in (
        "https://example.org/a.png",
        "data:text/html;base64,AAAA",
        'data:image/png;base64,"x',
    ):
        with pytest.raises(ValidationError):
            Sample(truth="a", image=image)


@pytest.mark.parametrize(
    "shape", [(28, 28), (28, 28, 1), (64, 48, 3), (500, 300, 3), (1, 1, 3), (80, 90, 4)]
)
def test_pixels_become_a_small_picture(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    uri = data_uri(pixels)
    assert Sample(truth="a", image=uri).image == uri
    assert len(uri) < 40_000


def test_the_report_lands_where_it_is_asked_for(runs, tmp_path, monkeypatch):
    run = runs.regression()
    record = run.save(tmp_path / "run")
    assert report(tmp_path / "run") == tmp_path / "run" / "report.html"
    assert report(record, tmp_path) == tmp_path / "report.html"
    assert report(run, tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    monkeypatch.chdir(tmp_path / "new")
    assert report(run).resolve() == tmp_path / "new" / "report.html"
    texts = {path.read_text() for path in tmp_path.rglob("*.html")}
    assert len(texts) == 1
    assert texts.pop().startswith("<!doctype html>")


def test_no_record_and_no_room_are_one_clear_error(runs, tmp_path):
    with pytest.raises(ArtifactError, match="no record of a run"):
        report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(OutputError, match="cannot be written"):
        report(runs.regression(), tmp_path / "run.json" / "page.html")
