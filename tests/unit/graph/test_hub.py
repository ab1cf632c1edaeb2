"""Backbones of KerasHub, of families that are built in different ways."""

import keras
import numpy as np
import pytest

pytest.importorskip("keras_hub", reason="KerasHub is not installed: pip install keras-hub")

from hub import HUB, inputs_of
from secateur.errors import BudgetError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask

pytestmark = pytest.mark.slow
FAMILIES = [
    "bert",
    "albert",
    "gpt2",
    "llama",
    "gemma",
    "f_net",
    "vit",
    "resnet",
    "mobilenet",
    "efficientnet",
]


def outputs(model, x):
    return [np.asarray(y) for y in keras.tree.flatten(model(x, training=False))]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_is_cut_as_masked_and_loads_again(name, tmp_path):
    model = HUB[name]()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(np.asarray(weight) + rng.normal(0, 0.05, weight.shape))
    graph = trace(model)
    stats = observe(graph)
    try:
        made = plan(graph, stats, macs=0.5, round_to=1, floor=0.02)
    except BudgetError:
        made = plan(graph, stats, macs=0.8, round_to=1, floor=0.02)
    smaller, x = cut(model, made), inputs_of(name)
    found = outputs(smaller, x)
    if not graph.mixing(made.keep(graph)):
        for one, other in zip(found, outputs(mask(model, made), x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    assert smaller.count_params() < model.count_params()
    smaller.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for one, other in zip(found, outputs(again, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
