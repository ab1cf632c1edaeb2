"""The laws of the house, over random models.

`SECATEUR_EXAMPLES=5000 python -m pytest tests/laws/test_random_models.py` looks longer.
"""

import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from grammar import build, programs
from secateur.errors import BudgetError, PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import GroupCut, Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask
from zoo import assert_same, inputs_of, mixed_axis, model_of, outputs

EXAMPLES = int(os.environ.get("SECATEUR_EXAMPLES", "40"))
SEARCH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SECATEUR_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def scattered(graph, seed):
    """Plan to remove about half of all units, here and there."""
    rng = np.random.default_rng(seed)
    cuts = []
    for group in graph.groups:
        chosen = group.free & (rng.random(len(group)) < 0.5)
        for line in (np.arange(len(group)), *group.lines):
            chosen[line[0]] &= not chosen[line].all()
        gone = np.flatnonzero(chosen)
        if len(gone):
            taken = tuple(int(index) for index in gone)
            cuts.append(GroupCut(group.name, group.members, len(group), taken, "chance"))
    return replace(Plan.empty(graph), cuts=tuple(cuts))


def budgeted(graph, budget, share, scope, by):
    """Plan for a budget, or return `None` where there is none to be met."""
    try:
        return plan(
            graph, observe(graph), **{budget: share}, scope=scope, by=by, round_to=1, floor=0
        )
    except BudgetError:
        return None
    except PlanError:
        if graph.groups:
            raise
        return None


def mixes_what_is_cut(graph, keep):
    """Say whether a layer that normalises across its units loses some of them."""
    for call in graph.calls:
        axis = mixed_axis(call.rule)
        ids = None if axis is None else graph.tensors[call.inputs[0]].axes[axis]
        if ids is not None and not keep[ids].all():
            return True
    return False


def check(model, made, x, folder):
    graph = trace(model)
    keep = made.keep(graph)
    smaller = cut(model, made)
    found = outputs(smaller, x)
    assert all(np.isfinite(value).all() for value in found)
    if not mixes_what_is_cut(graph, keep):
        assert_same(found, outputs(mask(model, made), x))
    again = trace(smaller)
    assert smaller.count_params() == again.parameters() == graph.parameters(keep)
    assert again.macs() == graph.macs(keep)
    assert [w.shape for w in smaller.inputs] == [w.shape for w in model.inputs]
    assert [w.shape for w in smaller.outputs] == [w.shape for w in model.outputs]
    smaller.save(folder / "smaller.keras")
    loaded = keras.models.load_model(folder / "smaller.keras", safe_mode=True)
    assert_same(outputs(loaded, x), found, 1e-5)
    return again


def hold(program, kind, heads, budget, share, scope, by, folder, stranger):
    model = build(program, kind, heads)
    x = inputs_of(model)
    whole = outputs(model, x)
    before = [np.array(weight) for weight in model.weights]
    config = keras.saving.serialize_keras_object(model)
    graph = trace(model)
    assert graph.parameters() == model.count_params()

    same = cut(model, Plan.empty(graph))
    assert_same(outputs(same, x), whole, 1e-6)
    assert [w.shape for w in same.weights] == [w.shape for w in model.weights]

    made = budgeted(graph, budget, share, scope, by)
    event("budget met" if made else "no such budget")
    if made is not None:
        smaller = check(model, made, x, folder)
        costs = {"macs": smaller.macs(), "parameters": smaller.parameters()}
        assert costs == made.after
        name = "macs" if budget == "macs" else "parameters"
        assert made.after[name] <= share * made.before[name]
        assert Plan.from_json(made.to_json()) == made
        with pytest.raises(PlanError, match="another model"):
            cut(stranger, made)

    chance = scattered(graph, len(program))
    if chance.cuts:
        check(model, chance, x, folder)
    event("scattered" if chance.cuts else "nothing to remove")

    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert keras.saving.serialize_keras_object(model) == config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def stranger():
    return model_of("dense")


@SEARCH
@given(
    program=programs(),
    kind=st.sampled_from([4, 3, 2]),
    heads=st.integers(0, 15),
    budget=st.sampled_from(["macs", "params"]),
    share=st.floats(0.3, 0.9),
    scope=st.sampled_from(["global", "local"]),
    by=st.sampled_from(["random", "l2"]),
)
def test_the_laws_hold(program, kind, heads, budget, share, scope, by, folder, stranger):
    hold(program, kind, heads, budget, share, scope, by, folder, stranger)
