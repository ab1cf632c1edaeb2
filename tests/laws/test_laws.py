"""The laws of the house: the first over the whole zoo, each over all of it with `make laws`."""

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from secateur.errors import PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import GroupCut, Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask
from zoo import (
    CLASSES_OF_ONES_OWN,
    ZOO,
    assert_same,
    inputs_of,
    mixing_groups,
    model_of,
    outputs,
    some,
)


@cache
def traced(name):
    """Return a model of the zoo, its graph and its weights; none of the laws may change them."""
    model = model_of(name)
    graph = trace(model)
    return model, graph, observe(graph)


def planned(graph, stats, **options):
    return plan(graph, stats, **{"macs": 0.6, "round_to": 2, "by": "l2"} | options)


def half(model):
    graph = trace(model)
    return planned(graph, observe(graph))


@pytest.fixture(params=sorted(ZOO))
def name(request):
    return request.param


def test_a_cut_model_computes_what_the_masked_one_does(name):
    model, graph, stats = traced(name)
    x = inputs_of(model)
    mixing = [group for group in graph.groups if group.name in mixing_groups(graph)]
    if len(mixing) == len(graph.groups):
        pytest.skip("layers normalise across every axis that can be cut")
    members = {member for group in mixing for member in group.members}
    options = {"macs": None, "ratio": 0.2, "keep": sorted(members)} if mixing else {}
    made = planned(graph, stats, **options)
    smaller, masked = outputs(cut(model, made), x), outputs(mask(model, made), x)
    assert_same(smaller, masked)
    assert all(np.abs(value).max() > 0 for value in masked)
    whole = outputs(model, x)
    assert any(not np.allclose(a, b, rtol=1e-3) for a, b in zip(smaller, whole, strict=True))


@pytest.mark.parametrize("name", some(0, 4))
def test_every_single_group_can_be_cut_alone(name):
    model, graph, _ = traced(name)
    x = inputs_of(model)
    for group in graph.groups:
        gone = np.flatnonzero(group.free)[1::2]
        if len(gone) == 0:
            continue
        one = GroupCut(group.name, group.members, len(group), tuple(gone.tolist()), "every other")
        made = replace(Plan.empty(graph), cuts=(one,))
        smaller = cut(model, made)
        if group.name not in mixing_groups(graph):
            assert_same(outputs(smaller, x), outputs(mask(model, made), x))
        assert smaller.count_params() == graph.parameters(made.keep(graph)) < graph.parameters()


@pytest.mark.parametrize("name", some(1, 5))
def test_the_empty_plan_is_the_identity(name):
    model, graph, _ = traced(name)
    x = inputs_of(model)
    same = cut(model, Plan.empty(graph))
    assert_same(outputs(same, x), outputs(model, x), 1e-6)
    assert [w.shape for w in same.weights] == [w.shape for w in model.weights]


def test_a_plan_survives_json(name):
    made = planned(*traced(name)[1:])
    assert Plan.from_json(made.to_json()) == made


def test_a_plan_refuses_another_model(name):
    other, *_ = traced("dense" if name != "dense" else "vgg")
    with pytest.raises(PlanError, match="another model"):
        cut(other, planned(*traced(name)[1:]))


@pytest.mark.parametrize("name", some(2, 6))
def test_a_step_leaves_its_input_as_it_was(name):
    model = model_of(name)
    before = [np.array(weight) for weight in model.weights]
    config = keras.saving.serialize_keras_object(model)
    made = half(model)
    cut(model, made)
    mask(model, made)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert keras.saving.serialize_keras_object(model) == config


@pytest.mark.parametrize("name", some(3, 7))
@pytest.mark.parametrize(("budget", "scope"), [("macs", "global"), ("params", "local")])
def test_budgets_hold(name, budget, scope):
    model, graph, stats = traced(name)
    made = planned(graph, stats, **({"macs": None} | {budget: 0.6}), scope=scope, round_to=1)
    smaller = trace(cut(model, made))
    before, after = {
        "macs": (made.before["macs"], smaller.macs()),
        "params": (made.before["parameters"], smaller.parameters()),
    }[budget]
    assert after <= 0.6 * before
    assert after >= 0.45 * before
    assert {"macs": smaller.macs(), "parameters": smaller.parameters()} == made.after


@pytest.mark.parametrize("name", some(0, 5))
def test_the_same_model_gives_the_same_plan(name):
    one, other = planned(*traced(name)[1:]), half(model_of(name))
    assert [cut.remove for cut in one.cuts] == [cut.remove for cut in other.cuts]


@pytest.mark.slow
def test_a_cut_model_loads_where_secateur_is_not_installed(tmp_path):
    cases = {}
    for name in sorted({*some(1, 6), *CLASSES_OF_ONES_OWN}):
        model = model_of(name)
        x = inputs_of(model)
        smaller = cut(model, half(model))
        smaller.save(tmp_path / f"{name}.keras")
        flat = {f"x{k}": v for k, v in enumerate(x if isinstance(x, list) else [x])}
        flat |= {f"y{k}": v for k, v in enumerate(outputs(smaller, x))}
        np.savez(tmp_path / f"{name}.npz", **flat)
        cases[name] = len(model.inputs)
    # Classes of the user's own are imported by the user, after all else has loaded without them.
    cases |= {name: cases.pop(name) for name in sorted(CLASSES_OF_ONES_OWN)}
    program = f"""
import sys
sys.modules["secateur"] = None
import keras, numpy as np
sys.path.append({str(Path(__file__).parents[1])!r})
for name, inputs in {cases!r}.items():
    if name in {CLASSES_OF_ONES_OWN!r}:
        import own_layers
    model = keras.models.load_model({str(tmp_path)!r} + f"/{{name}}.keras", safe_mode=True)
    saved = np.load({str(tmp_path)!r} + f"/{{name}}.npz")
    x = [saved[f"x{{k}}"] for k in range(inputs)]
    y = model(x if inputs > 1 else x[0], training=False)
    for k, value in enumerate(y if isinstance(y, list) else [y]):
        np.testing.assert_allclose(np.asarray(value), saved[f"y{{k}}"], rtol=1e-5, atol=1e-6)
try:
    import secateur
except ImportError:
    print("same", len({cases!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"same {len(cases)}", done.stderr
