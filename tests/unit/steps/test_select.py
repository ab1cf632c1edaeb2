import math

import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import BudgetError, DataError, ModelError, PlanError
from secateur.evaluation.evaluate import predict
from secateur.formats.fake import fake_quantized
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import Plan
from secateur.steps.chain import chain
from secateur.steps.cutting import cut
from secateur.steps.finetune import FineTune
from secateur.steps.gates import GATES, HardConcrete
from secateur.steps.network import PruningNetwork
from secateur.steps.quantize import Quantize
from secateur.steps.select import Select
from secateur.steps.selecting import Settle
from secateur.steps.training import fit

FAST = {"by": "l2", "round_to": 2, "batch_size": 50, "gate_learning_rate": 0.2}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8)).astype("float32")
    return read((x, (x[:, 0] + x[:, 1] > 0).astype("int32")))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = i = keras.Input((8,), name="array")
    x = h = layers.ReLU()(layers.BatchNormalization()(layers.Dense(24, name="stem")(x)))
    x = layers.Dropout(0.1)(layers.Dense(48, "relu", name="inner")(x))
    x = layers.Add()([h, layers.Dense(24, name="back")(x)])
    return keras.Model(i, layers.Dense(2, "softmax", name="last")(x))


def network_of(model, share=None, start=3.0, steps=1):
    graph = trace(model)
    gates = {g.name: HardConcrete(np.full(len(g), start), seed=1) for g in graph.groups}
    prices = {part.key: part.uses for part in graph.weights.values()}
    return PruningNetwork(graph, gates, prices=prices, share=share, steps=steps, speed=50.0)


@pytest.mark.parametrize("gates", GATES)
def test_what_is_selected_keeps_the_budget(model, data, gates):
    before = [w.copy() for w in model.get_weights()]
    result = Select(macs=0.5, gates=gates, epochs=4, **FAST)(model, data)
    assert 0.4 * result.before.macs < result.after.macs <= 0.5 * result.before.macs
    assert [stage.name for stage in result.stages] == ["cut", "healed", "fine-tuned"]
    assert [curve.epochs for _, curve in result.curves] == [2, 2]
    assert "of the macs expected to be left" in result.notes[0].what
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    for group, values in result.selection.gates.items():
        assert ((values >= 0) & (values <= 1)).all(), group
    assert type(result.model) is type(model)


def test_the_expected_cost_comes_to_the_budget(model, data):
    result = Select(params=0.4, epochs=20, gates="hard_concrete", **FAST)(model, data)
    left = dict(result.curves)["selected"].metrics["val_left"]
    assert left[0] > 0.6
    assert left[-1] == pytest.approx(0.4, abs=0.06)


# Not hard_concrete: what it draws decides whether it finds them.
@pytest.mark.parametrize("gates", ["soft", "top_k"])
def test_useless_inputs_of_a_layer_are_found(data, gates):
    keras.utils.set_random_seed(1)
    i = keras.Input((8,), name="array")
    # It is not trained, so that the others cannot learn what the first two tell.
    x = layers.Dense(16, name="wide", trainable=False)(i)
    model = keras.Model(i, layers.Dense(2, "softmax")(x))
    kernel = np.zeros((8, 16), "float32")
    kernel[0, 0] = kernel[1, 1] = 1.0
    # The others are loud, and tell nothing of the labels.
    kernel[4:, 2:] = 4.0
    model.get_layer("wide").set_weights([kernel, np.zeros(16)])
    model, _ = fit(model, data, epochs=20, learning_rate=0.02)
    how = {"epochs": 20, "batch_size": 20, "gate_learning_rate": 0.1}
    step = Select(macs=0.3, by="l2", gates=gates, round_to=1, **how)
    assert not {0, 1} & set(step(model, data).plan.cuts[0].remove)


def test_parameters_are_those_that_the_gates_leave(model):
    network = network_of(model)
    graph = trace(model)
    index = [g.name for g in graph.groups].index("inner")
    gates = network.selection[network.names.index("inner")]
    shut = np.where(np.arange(48) % 3 == 0, -9.0, 9.0)
    gates.raw.assign(shut / gates.speed)
    assert index >= 0
    left = network.pruned_parameters()
    assert (left["inner/kernel"][:, ::3] == 0).all()
    assert (left["back/kernel"][::3] == 0).all()
    assert (left["inner/kernel"][:, 1::3] != 0).all()
    folded = network.folded()
    assert (folded["back/kernel"][::3] == 0).all()
    assert (folded["inner/kernel"][:, ::3] != 0).any()


def test_the_network_is_an_ordinary_model(model, data, tmp_path):
    network = network_of(model, share=0.5, steps=20)
    x, y = data.train.sample(200)
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = keras.callbacks.History()
    network.fit(x, y, epochs=2, verbose=0, callbacks=[seen], validation_data=(x, y))
    assert {"loss", "accuracy", "left", "val_loss"} <= set(seen.history)
    network.save_weights(tmp_path / "network.weights.h5")
    other = network_of(model, share=0.5, steps=20)
    other(x[:1])
    other.load_weights(tmp_path / "network.weights.h5")
    np.testing.assert_allclose(other.predict(x, verbose=0), network.predict(x, verbose=0))


def test_a_network_is_evaluated_as_its_model(model, data):
    hidden = model.get_layer("inner").output
    one = keras.Model(model.inputs, layers.Dense(1, "sigmoid", name="one")(hidden))
    network = network_of(one, start=20.0)
    expected, given = (predict(each, data.test)[1] for each in (one, network))
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_what_layers_note_of_a_batch_is_kept(model, data):
    network = network_of(model)
    x, _ = data.train.sample(64)
    before = to_numpy(network.model.layers[2].moving_mean).copy()
    network(x, training=True)
    after = to_numpy(network.model.layers[2].moving_mean)
    assert not np.allclose(before, after)


@pytest.mark.parametrize("saved", [1, 3], ids=["of the choice", "of what was chosen"])
def test_an_interrupted_selection_goes_on_to_the_same_result(model, data, tmp_path, saved):
    class Stop(Exception):
        pass

    # Two epochs choose, so that a third is one of the second training.
    step = {"macs": 0.5, "epochs": 5, **FAST}
    whole = Select(**step)(model, data)
    from secateur.steps import keeper

    done = keeper.Keeper._save

    def broken(self, folder, epochs):
        done(self, folder, epochs)
        if epochs == saved:
            raise Stop

    keeper.Keeper._save = broken
    try:
        with pytest.raises(Stop):
            Select(**step, checkpoint=str(tmp_path))(model, data)
    finally:
        keeper.Keeper._save = done
    again = Select(**step, checkpoint=str(tmp_path), resume=True)(model, data)
    assert again.plan == whole.plan
    for one, other in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_same_seed_selects_the_same(model, data):
    one, other = (Select(macs=0.5, epochs=2, **FAST)(model, data) for _ in range(2))
    assert one.plan == other.plan
    assert isinstance(one.plan, Plan)


def test_what_was_chosen_goes_on_from_the_given_model(model, data):
    step = {"macs": 0.5, "epochs": 1, **FAST}
    result = Select(**step, heal=False)(model, data)
    for one, other in zip(result.model.weights, cut(model, result.plan).weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    learned = Select(**step, heal=False, rewind=False)(model, data)
    assert learned.plan == result.plan
    pairs = zip(result.model.weights, learned.model.weights, strict=True)
    assert any(np.abs(to_numpy(one) - to_numpy(other)).max() > 1e-4 for one, other in pairs)


def test_without_rewinding_the_network_is_trained_to_the_end(model, data):
    result = Select(macs=0.5, epochs=3, rewind=False, **FAST)(model, data)
    assert [stage.name for stage in result.stages] == ["cut", "healed"]
    assert [(name, curve.epochs) for name, curve in result.curves] == [("selected", 3)]


def test_what_is_kept_has_no_gates(model, data):
    result = Select(macs=0.7, keep=("stem",), epochs=2, **FAST)(model, data)
    assert set(result.selection.gates) == {"inner"}
    assert result.model.get_layer("stem").units == 24


def test_selection_chains_with_other_steps(model, data):
    result = chain(Select(macs=0.6, epochs=2, **FAST), FineTune(epochs=1))(model, data)
    assert [stage.name for stage in result.stages] == ["cut", "healed", "fine-tuned", "fine-tuned"]
    assert result.selection is not None


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, BudgetError, "exactly one budget"),
        ({"macs": 0.5, "params": 0.5}, BudgetError, "exactly one"),
        ({"macs": 1.5}, BudgetError, "between 0 and 1"),
        ({"macs": 0.5, "gates": "iron"}, PlanError, "no gates"),
        ({"macs": 0.5, "epochs": 0}, PlanError, "epochs must be a whole number from 1"),
        ({"macs": 0.5, "epochs": 1.5}, PlanError, "epochs must be a whole number"),
        ({"macs": 0.5, "seed": -1}, PlanError, "seed must be a whole number from 0"),
        ({"latency": 0.5, "batch": 0}, PlanError, "batch must be a whole number from 1"),
        ({"latency": 0.5, "threads": -1}, PlanError, "threads must be a whole number from 1"),
        ({"macs": 0.5, "runtime": "openvino"}, PlanError, "is for a budget of latency"),
        ({"macs": 0.5, "batch": 8}, PlanError, "is for a budget of latency"),
        ({"macs": 0.5, "keep": "conv2d"}, PlanError, "must be a tuple of patterns"),
        ({"macs": 0.5, "quantize": {"epochs": 3}}, PlanError, "no 'epochs' of quantize"),
        ({"macs": 0.5, "quantize": {"calibration": "x"}}, PlanError, "no calibration 'x'"),
        ({"latency": 0.5, "runtime": "abacus"}, ModelError, "no runtime"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, kind, words):
    with pytest.raises(kind, match=words):
        Select(**options)


def test_a_budget_that_nothing_meets_is_refused_before_training(model, data):
    with pytest.raises(BudgetError, match="cannot fall to"):
        Select(macs=0.01, epochs=10_000, **FAST)(model, data)


class Table:
    whole = None
    step = 1

    def cost(self, key, lengths):
        # What does not shrink with the widths is half of the time.
        return 1.0 + math.prod(lengths) / 500


def test_a_latency_far_below_all_reach_is_refused_before_training(model, data, monkeypatch):
    monkeypatch.setattr("secateur.steps.select.latency_table", lambda *args, **options: Table())
    with pytest.raises(BudgetError, match=r"not even 15\.0% is within reach"):
        Select(latency=0.1, epochs=10_000, **FAST)(model, data)


def test_selection_needs_data(model):
    with pytest.raises(DataError, match="learned from data"):
        Select(macs=0.5)(model)
    with pytest.raises(DataError, match="received tuple"):
        Select(macs=0.5)(model, (1, 2))


def test_a_training_that_diverges_is_told(model, data):
    with pytest.raises(ModelError, match="the loss became"):
        Select(macs=0.5, epochs=2, learning_rate=1e30, by="l2", round_to=2)(model, data)


def test_the_network_is_finished_to_a_plain_model(model, data):
    x, y = data.train.sample(400)
    network = Select(macs=0.5, **FAST).network(model, data, steps=24)
    network.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    network.fit(x, y, batch_size=50, epochs=4, verbose=0, callbacks=[Settle(3)])
    result = network.finish()
    assert float(network.left()) == pytest.approx(result.after.macs / result.before.macs)
    assert 0.4 * result.before.macs < result.after.macs <= 0.5 * result.before.macs
    assert type(result.model) is type(model)
    given = result.model.predict(x, verbose=0)
    np.testing.assert_allclose(given, network.predict(x, verbose=0), atol=1e-5)
    assert result.selection.parameters["inner/kernel"].shape == (24, 48)


def test_a_network_without_a_way_to_decide_says_so(model):
    with pytest.raises(PlanError, match="without a way to decide"):
        network_of(model).finish()


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8, 8, 3)).astype("float32")
    return read((x, (x[:, :4].mean((1, 2, 3)) > x[:, 4:].mean((1, 2, 3))).astype("int32")))


@pytest.fixture(scope="module")
def residual():
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 3), name="array")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="first")(i)
    x = h = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = layers.Conv2D(16, 1, name="back")(layers.ReLU()(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([h, x]))
    return keras.Model(i, layers.Dense(2, "softmax", name="last")(x))


def test_gates_and_steps_are_learned_together(residual, photos):
    result = Select(macs=0.5, quantize=True, epochs=4, **FAST)(residual, photos)
    assert result.after.macs <= 0.5 * result.before.macs
    assert result.after.bytes < 0.25 * result.before.bytes
    assert [stage.name for stage in result.stages] == ["cut"]
    made = result.quantization
    width = result.model.get_layer("first").filters
    assert width < 16
    assert len(made.weights["first/kernel"].scale) == width
    assert set(made.weights) == {f"{name}/kernel" for name in ("first", "deep", "back", "last")}
    for path, grid in made.weights.items():
        kernel = next(w for w in result.model.weights if w.path == path).numpy()
        np.testing.assert_array_equal(kernel, grid.rounded(kernel))


def test_what_no_steps_are_learned_for_is_stored_in_integers(data):
    keras.utils.set_random_seed(0)
    x = i = keras.Input(data.contract.shape)
    x = layers.Dense(8)(layers.Reshape((-1, 2))(x))
    x = layers.MultiHeadAttention(2, 8, name="attention")(x, x)
    model = keras.Model(i, layers.Dense(2, "softmax", name="last")(layers.Flatten()(x)))
    result = Select(macs=0.6, round_to=1, quantize=True, epochs=1)(model, data)
    kernels = {each.path for each in result.model.weights if each.path.endswith("kernel")}
    assert set(result.quantization.weights) == kernels
    assert set(result.quantization.stored) == {path for path in kernels if "attention" in path}
    for kernel in [each for each in result.model.weights if each.path in kernels]:
        values = kernel.numpy()
        np.testing.assert_allclose(
            result.quantization.weights[kernel.path].rounded(values), values, rtol=1e-6
        )


def test_what_is_cut_rounds_as_the_network_did(residual, photos):
    x, y = photos.train.sample(200)
    network = Select(macs=0.5, quantize=True, **FAST).network(residual, photos, steps=8)
    network.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    network.fit(x, y, batch_size=50, epochs=2, verbose=0)
    result = network.finish()
    twin = fake_quantized(result.model, result.quantization)
    given, expected = (each.predict(x, verbose=0) for each in (twin, network))
    assert np.abs(given - expected).max() < 0.02
    starts = Quantize(samples=512)(residual, photos).quantization.activations
    assert any(starts[key] != grid for key, grid in result.quantization.activations.items())


def fresh(model, data):
    made = Select(macs=0.5, **FAST).network(model, data, steps=24)
    made.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return made


def test_a_network_goes_on_from_what_callbacks_have_saved(model, data, tmp_path):
    x, y = data.train.sample(200)
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
    ]
    first = fresh(model, data)
    first.fit(x, y, epochs=2, verbose=0, callbacks=callbacks)
    other = fresh(model, data)
    other.load_weights(tmp_path / "w.weights.h5")
    for name, gates in first.gates().items():
        np.testing.assert_allclose(other.gates()[name], gates, rtol=1e-6)
    again = fresh(model, data)
    again.fit(x, y, epochs=2, verbose=0, callbacks=callbacks[1:])
    np.testing.assert_allclose(to_numpy(again.done), to_numpy(first.done))


def test_a_network_that_is_to_be_saved_whole_says_what_to_save(model, data, tmp_path):
    with pytest.raises(ModelError, match="save_weights_only=True"):
        fresh(model, data).save(tmp_path / "n.keras")


def test_a_network_that_rounds_has_each_weight_once(model, data):
    rounded = {"keep": ("last",), "reduce_range": True}
    step = Select(macs=0.5, quantize=rounded, **FAST)
    assert step.leaves == Select(macs=0.5, quantize={}).leaves is not None
    network = step.network(model, data, steps=4)
    grids = network._rounding.quantization.weights.values()
    assert len(grids) == 3
    assert {grid.bits for grid in grids} == {7}
    kernels = [each for each in network.trainable_variables if each.path.endswith("kernel")]
    assert len(kernels) == 4
