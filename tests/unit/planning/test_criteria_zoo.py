"""Every criterion on wirings of all sorts: finite, not negative, and the same every time."""

import numpy as np
import pytest

from secateur.errors import PlanError
from secateur.graph.observe import NAMES, observe
from secateur.graph.trace import trace
from secateur.planning.criteria import CRITERIA, criterion, needed, needs, needs_labels
from secateur.planning.plan import plan
from unit.planning.models import of_zoo

WITH_LABELS = {"taylor", "obd"}
WIRINGS = (
    "dense",
    "vgg",
    "residual",
    "inverted_residual",
    "grouped",
    "concatenation",
    "sequence",
    "recurrent",
    "masked_tokens",
    "convolutional_lstm",
    "attention",
    "grouped_query_attention",
    "blocks_of_ones_own",
    "einsum",
)


def assert_sound(graph, one, other, among):
    scaled = any(key.endswith(("gamma", "scale")) for key in one.weights)
    for by in among - (set() if scaled else {"bn_scale"}):
        for group in graph.groups:
            scores = CRITERIA[by](group, one)
            assert scores.shape == (len(group),), by
            assert np.isfinite(scores).all(), by
            assert (scores >= 0).all(), by
            assert scores.any(), (by, group.name)
            np.testing.assert_array_equal(scores, CRITERIA[by](group, other))


@pytest.mark.parametrize("name", WIRINGS)
def test_every_criterion_without_labels_scores_every_unit(name):
    model, x, _ = of_zoo(name)
    graph = trace(model)
    needs = {"activations", "moments"}
    one, other = (observe(graph, x, needs=needs, seed=3) for _ in range(2))
    assert one.gathered == needs | {"weights"}
    assert_sound(graph, one, other, CRITERIA.keys() - WITH_LABELS)


@pytest.mark.parametrize(
    "name",
    ["residual", "attention"]
    + [pytest.param(other, marks=pytest.mark.long) for other in ("dense", "sequence")],
)
def test_every_criterion_with_labels_scores_every_unit(name):
    model, x, y = of_zoo(name, rows=6)
    graph = trace(model)
    stats = observe(graph, (x, y), needs=set(NAMES), seed=3)
    assert stats.gathered == set(NAMES)
    assert_sound(graph, stats, stats, WITH_LABELS)


def test_what_needs_labels_says_so():
    assert {name for name, rank in CRITERIA.items() if needs_labels(rank)} == WITH_LABELS
    assert needed(CRITERIA["reconstruction"]) == {"weights", "activations", "moments"}


@pytest.mark.parametrize(
    ("by", "mend"),
    [
        ("obd", r"with labels: observe\(graph, \(x, y\), needs=\{'fisher', 'weights'\}"),
        ("wanda", r"no labels are needed\): observe\(graph, x, needs=\{'activations', 'weights'\}"),
    ],
)
def test_a_plan_says_how_to_gather_what_is_missing(by, mend):
    model, *_ = of_zoo("dense")
    graph = trace(model)
    with pytest.raises(PlanError, match=mend):
        plan(graph, observe(graph), macs=0.5, by=by, round_to=1)


def test_a_function_of_ones_own_may_need_what_is_gathered():
    @needs("activations")
    def quietest(group, stats):
        return -criterion("activation")(group, stats)

    model, x, _ = of_zoo("vgg")
    graph = trace(model)
    stats = observe(graph, x, needs=needed(quietest))
    made = plan(graph, stats, ratio=0.3, by=quietest, round_to=1)
    assert made.by == "quietest"
    loud = plan(graph, stats, ratio=0.3, by="activation", round_to=1)
    assert made.cuts != loud.cuts
