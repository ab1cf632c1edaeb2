"""What changed for whom on the page, the drawing of the wiring, and runs side by side."""

import re
import xml.etree.ElementTree as Xml

import pytest

from secateur.errors import ArtifactError
from secateur.reporting.mistakes import mistakes
from secateur.reporting.overview import search_plot
from secateur.reporting.record import Node
from secateur.reporting.report import render
from secateur.reporting.robust import changed, losses
from secateur.reporting.several import entries, headline, remarks, report_several, table
from secateur.reporting.verdict import compare
from secateur.reporting.wiring import wiring


def test_the_sentence_counts_who_loses_and_names_the_worst(runs):
    found = changed(runs.classification())
    assert found is not None
    assert found.sentence.replace("\u00a0", " ") == (
        "More than 5 points beyond noise are lost by 1 of 10 classes, by none of 3 groups of "
        "person and 4 kinds of input. The class or group that surely loses most is 2: −8.2 points "
        "(−11.8 to −4.5)."
    )
    assert [one.title for one in found.tables] == ["Each class", "By person", "On a bad day"]
    first = found.tables[0].rows[0]
    assert (first.name, first.flagged) == ("2", True)
    assert re.fullmatch(r"−\d+\.\d to −\d+\.\d", first.between)
    # Conditions keep their order: as they are comes first.
    assert found.tables[2].rows[0].name == "As they are"


def test_a_value_is_told_by_its_error(runs):
    run = runs.regression()
    found = changed(run)
    assert found is not None
    assert found.errors
    assert "5 % of the error" in found.sentence.replace("\u00a0", " ")
    (told,) = losses(run)
    assert told.startswith("carrier AA: ")
    assert found.confidence is None


def test_no_loss_is_said_as_such(runs):
    run = runs.classification()
    looked = run.robustness.model_copy(
        update={"classes": runs.slices(("a", "b"), 0.8, 0.9), "groups": {}}
    )
    found = changed(run.model_copy(update={"robustness": looked}))
    assert found is not None
    assert found.sentence.startswith("None of 2")
    assert found.sentence.endswith("No class loses anything that could not be chance.")


def test_a_run_that_did_not_look_has_no_section_and_keeps_its_classes(runs):
    run = runs.classification().model_copy(update={"robustness": None})
    assert changed(run) is None
    assert losses(run) == ()
    assert mistakes(run, compare(run)).classes
    assert 'id="robustness"' not in render(run)
    assert not mistakes(runs.classification(), compare(run)).classes


def test_many_losses_are_told_in_short(runs):
    run = runs.classification()
    every = tuple(one.model_copy(update={"flagged": True}) for one in run.robustness.classes)
    looked = run.robustness.model_copy(update={"classes": every})
    told = losses(run.model_copy(update={"robustness": looked}))
    assert len(told) == 6
    assert told[-1].startswith("5 more lost")


def test_the_search_is_plotted_with_what_it_took(runs):
    drawn = search_plot(runs.classification())
    assert drawn is not None
    dots = [one for one in Xml.fromstring(drawn).iter("g") if "dot" in (one.get("class") or "")]
    assert len(dots) == 4
    (taken,) = [one.get("data-tip") for one in dots if one.get("class") == "dot after"]
    assert taken.replace("\u00a0", " ") == "44 % of the MACs (taken): 91.1 % at 44 %"
    assert search_plot(runs.regression()) is None


def test_the_wiring_has_a_row_a_node_and_a_wire_an_input():
    nodes = (
        Node(name="a", before=4, after=4),
        Node(name="b", before=8, after=2, inputs=("a",)),
        Node(name="add", kind="Add", before=4, after=4, inputs=("b", "a"), merges=True),
        Node(name="c", before=3, after=3, inputs=("add",)),
    )
    drawn = wiring(nodes)
    assert drawn is not None
    tree = Xml.fromstring(drawn)
    straight = [one for one in tree.iter("line") if one.get("class") == "wire"]
    around = [one for one in tree.iter("path") if one.get("class") == "wire"]
    assert (len(straight), len(around)) == (5, 1)
    wide = {
        one.find("title").text: [float(r.get("width")) for r in one.iter("rect")]
        for one in tree.findall("g")
    }
    assert wide["b: 8 → 2"] == [260.0, 65.0]
    assert wide["add (Add): 4"] == []
    assert wiring(nodes[:1]) is None
    assert wiring(tuple(Node(name=str(n), before=1, after=1) for n in range(300))) is None


def test_runs_stand_side_by_side(runs, tmp_path):
    first = runs.classification()
    slower = first.stages[:-1]
    last = first.stages[-1].model_copy(
        update={"metrics": first.stages[0].metrics, "latencies": first.stages[0].latencies}
    )
    other = first.model_copy(update={"stages": (*slower, last), "robustness": None})
    for name, run in (("one", first), ("two", other)):
        run.save(tmp_path / name)
    page = report_several([tmp_path / "one", tmp_path / "two" / "run.json"], tmp_path)
    assert page == tmp_path / "runs.html"
    made = entries([tmp_path / "one", tmp_path / "two"], [first, other])
    assert [one.name for one in made] == ["one", "two"]
    assert headline(made).replace("\u00a0", " ") == (
        "two is best (accuracy 91.0 %); one gained most speed, and is 2.6 times as fast as its "
        "baseline"
    )
    assert remarks(made) == ()
    columns, rows = table(made)
    titles = [title for title, _ in columns]
    assert "Batch 32" in titles
    fast = titles.index("Batch 32")
    assert [row[2][fast].text for row in rows][1] == "1.00×"
    worst = titles.index("Surest loss of a class or group")
    assert [row[2][worst].small for row in rows] == ["2", ""]
    assert "one" in page.read_text()


def test_runs_of_other_data_are_warned_of_and_of_another_task_refused(runs, tmp_path):
    first, other = runs.classification(), runs.classification(classes=12)
    made = entries([tmp_path / "a", tmp_path / "b"], [first, other])
    assert any("not measured on the same data" in text for text in remarks(made))
    with pytest.raises(ArtifactError, match="different figures"):
        entries([tmp_path / "a", tmp_path / "b"], [first, runs.regression()])
