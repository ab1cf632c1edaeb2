from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import BudgetError, DataError, ModelError, PlanError
from secateur.graph.rebuild import rebuild
from secateur.graph.trace import trace
from secateur.steps import ranking
from secateur.steps.chain import chain
from secateur.steps.factorable import subjects_of
from secateur.steps.factorize import Factorize
from secateur.steps.factors import METHODS, forms_of
from secateur.steps.finetune import FineTune
from secateur.steps.inputs import watched
from secateur.steps.prune import Prune
from unit.steps.factorizing import made_data, net
from zoo import assert_same, inputs_of, outputs, randomised


def conv2d(**options):
    options = {"padding": "same", **options}
    return (9, 11, 6), layers.Conv2D(10, options.pop("size", 3), activation="tanh", **options)


def conv1d(**options):
    return (13, 6), layers.Conv1D(10, options.pop("size", 3), **options)


LAYERS = {
    "dense": lambda: ((12,), layers.Dense(16, "relu")),
    "dense_without_bias": lambda: ((12,), layers.Dense(10, use_bias=False)),
    "dense_over_time": lambda: ((5, 12), layers.Dense(16, "softmax")),
    "to_heads": lambda: (
        (5, 12),
        layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de"),
    ),
    "from_heads": lambda: (
        (5, 3, 4),
        layers.EinsumDense("abcd,cde->abe", (None, 12), bias_axes="e", activation="gelu"),
    ),
    "any_axes_before": lambda: ((5, 5, 12), layers.EinsumDense("...x,xy->...y", 10)),
    "any_axes_behind": lambda: ((12, 5, 5), layers.EinsumDense("ab...,bc->ac...", 10)),
    "matrix_a_group": lambda: ((3, 12), layers.EinsumDense("abc,bcd->abd", (3, 10))),
    "units_apart": lambda: ((5, 12), layers.EinsumDense("abc,cde->adbe", (3, None, 4))),
    "conv": conv2d,
    "conv_of_one": lambda: conv2d(size=1, strides=2),
    "conv_valid": lambda: conv2d(padding="valid", size=(3, 2)),
    "conv_strides": lambda: conv2d(strides=(2, 3), size=(4, 3)),
    "conv_valid_strides": lambda: conv2d(strides=2, padding="valid", use_bias=False),
    "conv_dilated": lambda: conv2d(dilation_rate=(2, 3)),
    "conv_wide": lambda: conv2d(size=(1, 5)),
    "line": conv1d,
    "line_causal": lambda: conv1d(padding="causal", dilation_rate=2),
    "line_strides": lambda: conv1d(padding="same", strides=2, size=4),
}


def single(name):
    shape, layer = LAYERS[name]()
    i = keras.Input(shape)
    return randomised(keras.Model(i, layer(i), name=name))


def table():
    i = keras.Input((7,), dtype="int32")
    x = layers.Embedding(12, 8, mask_zero=True, name="table")(i)
    return randomised(keras.Model(i, layers.GlobalAveragePooling1D()(x)))


def forms(model, x=None, seed=0):
    """Return the graph, its only subject, and the methods there are for it."""
    graph = trace(model)
    (subject,), notes = subjects_of(graph)
    assert not notes
    seen = None
    if x is not None:
        wanted = {id(subject.layer): subject.around}
        seen = watched(graph, wanted, x, seed=seed)[id(subject.layer)]
    return graph, subject, forms_of(subject, seen, METHODS)


def rows_for(model, rows=200):
    """Return inputs of which a few directions are larger, around a mean that is not zero."""
    x = inputs_of(model, rows)
    if np.issubdtype(x.dtype, np.integer):
        return x
    rng = np.random.default_rng(5)
    scale = np.exp(-3 * np.arange(x.shape[-1]) / x.shape[-1])
    turn = np.linalg.qr(rng.normal(size=(x.shape[-1], x.shape[-1])))[0]
    return (x * scale @ turn + 0.5).astype("float32")


MODELS = {name: (lambda name=name: single(name)) for name in LAYERS} | {"table": table}


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return MODELS[request.param]()


@pytest.mark.parametrize("aware", [False, True])
def test_full_rank_is_the_layer(model, aware):
    x = rows_for(model, 40)
    graph, subject, found = forms(model, x if aware else None)
    assert found
    for form in found:
        ranks = max(form.ranks(1), key=sum)
        if form.name == "tucker":
            ranks = tuple(subject.layer.kernel.shape[-2:])
        made = rebuild(graph, graph.everything(), {id(subject.layer): form.parts(ranks)})
        assert_same(outputs(made, x), outputs(model, x))
        assert len(made.layers) > len(model.layers)


def test_costs_are_those_of_the_layers_made(model):
    graph, subject, found = forms(model)
    assert subject.whole.macs == graph.macs()
    for form in found:
        for ranks in form.ranks(2)[:3]:
            choice = form.choice(ranks)
            made = rebuild(graph, graph.everything(), {id(subject.layer): form.parts(ranks)})
            assert trace(made).macs() == choice.macs
            bias = getattr(subject.layer, "bias", None)
            assert made.count_params() == choice.params + (
                0 if bias is None else int(np.prod(bias.shape))
            )
            assert choice.bytes == 4 * choice.params


def linear_error(model, made, x):
    (one,), (other,) = outputs(model, x), outputs(made, x)
    return float(np.square(one - other).mean())


def test_output_errors_fall_with_rank_and_with_data(model):
    layer = model.layers[1]
    if getattr(layer, "activation", None) is not None:
        layer.activation = keras.activations.linear
    x = rows_for(model)
    for aware, plain in zip(forms(model, x)[2], forms(model)[2], strict=True):
        errors = []
        # At a border of zeros a mean is another one: what is promised is promised on the whole.
        for ranks in [ranks for ranks in aware.ranks(1) if len(set(ranks)) == 1][:5]:
            pair = []
            for form in (aware, plain):
                graph, subject, _ = forms(model)
                made = rebuild(graph, graph.everything(), {id(subject.layer): form.parts(ranks)})
                pair.append(linear_error(model, made, x))
            assert pair[0] <= pair[1] * 1.0001 + 1e-9
            errors.append(pair[0])
        assert all(b <= a * 1.0001 + 1e-9 for a, b in pairwise(errors))


@pytest.fixture(scope="module")
def data():
    return made_data()


def test_data_lets_ranks_be_lower(data):
    model = net()
    step = Factorize(energy=0.85, round_to=1, faster=False, layers=("first",))
    aware, plain = step(model, data), Factorize(**{**vars(step), "data_aware": False})(model, data)
    assert aware.after.macs < plain.after.macs
    # All but a little of the data lies in four directions.
    assert aware.model.get_layer("first_a").kernel.shape[1] <= 4
    (note,) = (note for note in aware.notes if note.kind == "done")
    assert note.where == "first"
    assert "of its energy" in note.what


@pytest.mark.parametrize("budget", ["macs", "params", "bytes"])
def test_budgets_hold(data, budget):
    result = Factorize(**{budget: 0.5}, round_to=1, faster=False)(net(), data)
    name = "parameters" if budget == "params" else budget
    left = getattr(result.after, name) / getattr(result.before, name)
    assert 0.47 < left <= 0.5
    assert {note.where for note in result.notes} == {"first", "second", "last"}


def test_vbmf_finds_ranks(data):
    model = net()
    rng = np.random.default_rng(1)
    noise = 0.01 * rng.normal(size=(64, 64))
    model.get_layer("second").kernel.assign(
        rng.normal(size=(64, 5)) @ rng.normal(size=(5, 64)) + noise
    )
    result = Factorize(vbmf=True, round_to=1, faster=False)(model, data)
    assert result.model.get_layer("second_a").kernel.shape == (64, 5)


def test_slower_factors_are_refused_with_their_share(data, monkeypatch):
    def share(before, after, **_):
        return 1.31 if before[0].written == 2 or before[0].read == 24 else 0.6

    monkeypatch.setattr(ranking, "time_left", share)
    result = Factorize(energy=0.8, round_to=1)(net(), data)
    kept = {note.where: note.what for note in result.notes if note.kind == "skipped"}
    assert "takes 1.31 of its time on ONNX Runtime (batch 1, 1 thread)" in kept["first"]
    done = {note.where: note.what for note in result.notes if note.kind == "done"}
    assert set(done) == {"second"}
    assert "0.60 of its time" in done["second"]


def test_where_all_are_slower_nothing_can_be_done(data, monkeypatch):
    monkeypatch.setattr(ranking, "time_left", lambda *_, **__: 1.2)
    with pytest.raises(PlanError, match=r"nothing in this model can be factorized.*1\.20"):
        Factorize(energy=0.8, round_to=1)(net(), data)
    with pytest.raises(BudgetError, match=r"took 1\.20 to 1\.20 .* faster=False"):
        Factorize(macs=0.5, round_to=1)(net(), data)


def test_where_nothing_can_be_factorized_that_is_said(data):
    i = keras.Input((24,), name="array")
    model = randomised(keras.Model(i, layers.Dense(1, "sigmoid", name="narrow")(i)))
    for budget in ({"latency": 0.5}, {"max_drop": 1.0}):
        with pytest.raises(PlanError, match=r"nothing in this model can be factorized.*narrow"):
            Factorize(**budget, faster=False)(model, data)


def test_shared_layers_stay_shared():
    one, two = keras.Input((16,)), keras.Input((16,))
    twin = layers.Dense(16, "relu", name="twin")
    x = layers.Subtract()([twin(one), twin(twin(two))])
    model = randomised(keras.Model([one, two], layers.Dense(3)(x)))
    result = Factorize(params=0.7, round_to=2, faster=False, layers=("twin",))(model)
    (rank,) = {layer.kernel.shape[1] for layer in result.model.layers if layer.name == "twin_a"}
    assert result.before.macs == 3 * 256 + 48
    assert result.after.macs == 3 * 32 * rank + 48
    assert result.after.parameters == 32 * rank + 16 + 51


def test_names_do_not_collide():
    i = keras.Input((16,))
    x = layers.Dense(16, name="x")(layers.Dense(16, name="x_a")(i))
    result = Factorize(energy=0.3, round_to=1, faster=False)(randomised(keras.Model(i, x)))
    assert {"x_a_a", "x_a_b", "x_b"} < {layer.name for layer in result.model.layers}


def test_what_a_layer_has_beside_its_weights_is_kept_or_told():
    i = keras.Input((16,))
    layer = layers.Dense(
        16,
        kernel_constraint="max_norm",
        kernel_regularizer="l2",
        bias_regularizer="l1",
        activity_regularizer="l1",
        trainable=False,
        dtype="float64",
        name="layer",
    )
    model = randomised(keras.Model(i, layer(i)))
    result = Factorize(energy=0.3, round_to=1, faster=False)(model)
    first, last = (result.model.get_layer(f"layer_{letter}") for letter in "ab")
    assert first.dtype == last.dtype == "float64"
    assert (first.trainable, last.trainable) == (False, False)
    assert first.kernel_regularizer is first.activity_regularizer is first.kernel_constraint is None
    assert None not in (last.kernel_regularizer, last.bias_regularizer, last.activity_regularizer)
    assert last.kernel_constraint is None
    (note,) = (note for note in result.notes if note.kind == "done")
    assert "its constraint is left out" in note.what
    assert "regularizer is on the last factor" in note.what


def test_what_cannot_be_factorized_is_told():
    x = i = keras.Input((8, 8, 16))
    x = layers.Conv2D(16, 3, groups=4, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, name="deep")(x)
    x = layers.Conv2DTranspose(16, 3, name="transposed")(x)
    x = layers.Conv2D(16, 3, name="kept")(x)
    x = layers.Dense(16, name="done")(layers.Flatten()(x))
    x = layers.Dense(1, name="narrow")(x)
    result = Factorize(energy=0.3, round_to=1, faster=False, keep=("kept",))(
        randomised(keras.Model(i, x))
    )
    told = {note.where: note.what for note in result.notes if note.kind == "skipped"}
    for name, why in {
        "grouped": "grouped convolution",
        "deep": "depthwise",
        "transposed": "Conv2DTranspose",
        "kept": "keep=",
        "narrow": "saves nothing",
    }.items():
        assert why in told[name]
    assert {note.where for note in result.notes if note.kind == "done"} == {"done"}


def test_attention_is_laid_open_and_told():
    x = i = keras.Input((6, 32))
    x = layers.MultiHeadAttention(4, 8, name="mha")(x, x)
    model = randomised(keras.Model(i, layers.Dense(3)(x)))
    result = Factorize(energy=0.99, round_to=1, faster=False, layers=("query",))(
        _low_rank(model, "query", 3)
    )
    assert result.model.get_layer("mha_query_a").kernel.shape == (32, 3)
    (note,) = (note for note in result.notes if note.kind == "done")
    assert note.where == "mha/query"
    assert "mha is laid open" in note.what
    assert_same(outputs(result.model, inputs_of(model)), outputs(model, inputs_of(model)), 1e-3)


def _low_rank(model, name, rank):
    layer = getattr(model.get_layer("mha"), f"_{name}_dense")
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(32, rank)) @ rng.normal(size=(rank, 32)) / 8
    layer.kernel.assign(whole.reshape(layer.kernel.shape))
    return model


def test_it_stands_between_pruning_and_training(data):
    steps = chain(
        Prune(macs=0.6, round_to=4, by="l2"),
        Factorize(macs=0.7, round_to=1, faster=False),
        FineTune(epochs=1),
    )
    result = steps(net(), data)
    assert [stage.name for stage in result.stages] == ["cut", "healed", "factorized", "fine-tuned"]
    assert result.after.macs <= 0.7 * 0.6 * result.before.macs
    assert (
        eval(
            repr(steps),
            {"chain": chain, "Prune": Prune, "Factorize": Factorize, "FineTune": FineTune},
        )
        == steps
    )


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, BudgetError, "received none"),
        ({"energy": 0.5, "macs": 0.5}, BudgetError, "energy, macs"),
        ({"macs": 1.5}, BudgetError, "between 0 and 1"),
        ({"energy": 1.0}, PlanError, "between 0 and 1"),
        ({"energy": True}, PlanError, "between 0 and 1"),
        ({"energy": 0.5, "conv": "cp"}, PlanError, "'cp'"),
        ({"energy": 0.5, "round_to": 0}, PlanError, "round_to"),
        ({"energy": 0.5, "samples": 2.5}, PlanError, "samples"),
        ({"energy": 0.5, "layers": "dense*"}, PlanError, "tuple"),
        ({"energy": 0.5, "keep": ("nothing",)}, PlanError, "matches no layer"),
        ({"energy": 0.5, "layers": ("nothing",)}, PlanError, "matches no layer"),
        ({"params": 0.001, "faster": False}, BudgetError, "lowest ranks leave"),
        ({"energy": 0.5, "runtime": "litert"}, PlanError, "litert"),
        ({"latency": 1.5}, BudgetError, "latency must be a share between 0 and 1"),
        ({"latency": True}, BudgetError, "latency must be a share between 0 and 1"),
        ({"latency": 0.5, "macs": 0.5}, BudgetError, "received macs, latency"),
        ({"latency": 0.5, "runtime": "litert"}, PlanError, "litert"),
        ({"latency": 0.5, "runtime": "abacus", "faster": False}, ModelError, "abacus"),
        ({"max_drop": 1, "energy": 0.9}, BudgetError, "received energy, max_drop"),
        ({"max_drop": -1}, PlanError, "max_drop is in points"),
        ({"max_drop": float("nan")}, PlanError, "max_drop is in points"),
        ({"max_drop": "1"}, PlanError, "max_drop is in points"),
        ({"max_drop": 1, "metric": "f1"}, PlanError, "metric cannot be 'f1'"),
        ({"max_drop": 1, "smallest": "joy"}, PlanError, "smallest cannot be 'joy'"),
        ({"max_drop": 1, "trials": 0}, PlanError, "trials must be a whole number"),
        ({"macs": 0.5, "metric": "auc"}, PlanError, "metric is for a search"),
        ({"macs": 0.5, "trials": 3}, PlanError, "trials is for a search"),
        ({"macs": 0.5, "faster": False, "batch": 8}, PlanError, "batch says where times are"),
    ],
)
def test_bad_options_are_refused(options, error, match, data):
    with pytest.raises(error, match=match):
        Factorize(**options)(net(), data)


def test_data_of_another_kind_or_too_little_is_refused(data):
    step = Factorize(energy=0.5, faster=False)
    with pytest.raises(DataError, match="ndarray"):
        step(net(), np.zeros((40, 24)))
    with pytest.raises(DataError, match="at least 32 rows, received 20"):
        Factorize(energy=0.5, faster=False, samples=20)(net(), data)


def test_little_data_is_told(data):
    result = Factorize(energy=0.5, faster=False, samples=60)(net(), data)
    told = {note.where: note.what for note in result.notes if "little data" in note.what}
    assert set(told) == {"second", "last"}
    assert "80 samples would give as many" in told["second"]
