import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.criteria import l2
from secateur.planning.plan import plan
from secateur.planning.sensitivity import Sensitivity, alone, calibrated


@pytest.fixture(scope="module")
def graph():
    keras.utils.set_random_seed(0)
    row = keras.Input((8,))
    x = layers.Dense(16, "relu", name="one")(row)
    x = layers.Dense(16, "relu", name="two")(x)
    return trace(keras.Model(row, layers.Dense(2)(x)))


def curve(group, *losses, whole=1.0):
    return Sensitivity(group, (group,), 16, (4, 8, 12), losses, losses, whole)


def ranked(graph, curves, name):
    stats = observe(graph)
    group = next(group for group in graph.groups if group.name == name)
    return l2(group, stats), calibrated(l2, curves)(group, stats)


def test_scores_sum_up_to_the_rise_of_the_loss_and_keep_their_order(graph):
    before, after = ranked(graph, [curve("one", 1.1, 1.3, 2.0)], "one")
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) > 0).all()
    np.testing.assert_allclose(after[order[:8]].sum(), 0.3, rtol=0.02)
    np.testing.assert_allclose(after[order[:12]].sum(), 1.0, rtol=0.02)


def test_a_curve_with_a_bump_is_evened_out(graph):
    before, after = ranked(graph, [curve("one", 1.6, 1.5, 1.6)], "one")
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) > 0).all()
    np.testing.assert_allclose(after[order[:12]].sum(), 0.6, rtol=0.02)


def test_a_loss_that_falls_costs_next_to_nothing(graph):
    _, after = ranked(graph, [curve("one", 0.9, 0.8, 1.5)], "one")
    assert (after > 0).all()
    assert np.sort(after)[:8].sum() < 0.01


def test_a_group_that_was_not_measured_keeps_its_scores(graph):
    before, after = ranked(graph, [curve("one", 1.1, 1.3, 2.0)], "two")
    np.testing.assert_array_equal(before, after)


def test_a_curve_of_another_model_is_refused(graph):
    other = Sensitivity("one", ("one",), 32, (16,), (1.5,), (1.2,), 1.0)
    with pytest.raises(PlanError, match="measured with 32 units; now it has 16"):
        ranked(graph, [other], "one")


def test_the_sensitive_group_gives_less(graph):
    curves = [curve("one", 1.01, 1.02, 1.03), curve("two", 2.0, 3.0, 4.0)]
    made = plan(graph, observe(graph), ratio=0.3, by=calibrated(l2, curves), round_to=1)
    gone = {cut.group: len(cut.remove) for cut in made.cuts}
    assert gone.get("one", 0) >= 9
    assert gone.get("two", 0) <= 1
    assert made.by == "l2, as measured"


def test_plans_shrink_one_group_alone_by_allowed_widths(graph):
    stats = observe(graph)
    scores = {group.name: l2(group, stats) for group in graph.groups}
    plans = alone(graph, scores, (0.25, 0.5, 0.9), round_to=4)
    assert set(plans) == {"one", "two"}
    for name, made in plans.items():
        assert [cut.group for each in made for cut in each.cuts] == [name] * 3
        assert [len(each.cuts[0].remove) for each in made] == [4, 8, 12]
        worst = np.argsort(scores[name], kind="stable")[:4]
        assert made[0].cuts[0].remove == tuple(sorted(worst.tolist()))
    assert not alone(graph, scores, (0.5,), held=frozenset({"one", "two"}))


def test_scores_that_are_no_numbers_are_not_ranked_as_measured(graph):
    def broken(group, stats):
        return np.full(len(group), np.nan)

    with pytest.raises(PlanError, match=r"^one: .* 'broken' gave 16 that are not finite"):
        plan(graph, observe(graph), macs=0.5, by=calibrated(broken, [curve("one", 1.1, 1.2, 2)]))
