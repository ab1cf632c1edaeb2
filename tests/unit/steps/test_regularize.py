import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import BudgetError, DataError, OutputError, PlanError
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.steps.regularize import Regularize
from secateur.steps.regularizing import PENALTIES
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(320, 8, 8, 4)).astype("float32")
    return read((x, (x.mean(axis=(1, 2)) @ [1, -1, 0.5, 2] > 0).astype("int32")))


def convolution(x, filters):
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


@pytest.fixture(scope="module")
def model(data):
    """A residual block in a stream, trained a little."""
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 4), name="array")
    stream = layers.ReLU()(convolution(i, 12))
    inner = convolution(layers.ReLU()(convolution(stream, 12)), 12)
    x = layers.ReLU()(layers.Add()([stream, inner]))
    x = layers.Dense(2, "softmax", name="last")(layers.GlobalAveragePooling2D()(x))
    return fit(keras.Model(i, x), data, epochs=2, learning_rate=0.01)[0]


STRONG = {"strength": 10.0, "epochs": 4, "learning_rate": 0.06, "round_to": 1, "floor": 0.2}


def whole_units(graph, model):
    """Return for each group how many units have all their trained slices zero."""
    found = {}
    variables = graph.variables_of(model)
    for group in graph.groups:
        size = np.zeros(len(group))
        for part in group.slices:
            if part.role == "cost" or not variables[part.weight].trainable:
                continue
            array = np.abs(to_numpy(variables[part.weight]))
            line = array.max(axis=tuple(a for a in range(array.ndim) if a != part.axis))
            np.maximum.at(size, part.unit[part.unit >= 0], line[part.unit >= 0])
        found[group.name] = int((size == 0).sum())
    return found


def told(result, kind="done"):
    return [str(note) for note in result.notes if note.kind == kind]


def test_a_group_lasso_empties_whole_units_of_stream_and_block_alike(model, data):
    before = [to_numpy(each).copy() for each in model.weights]
    result = Regularize(**STRONG)(model, data)
    graph = trace(model)
    (made,) = result.plans
    gone = {cut.group: len(cut.remove) for cut in made.cuts}
    assert set(gone) == {group.name for group in graph.groups if group.kind != "block"}
    zeros = whole_units(graph, result.stages[0].model)
    assert {name: zeros[name] for name in gone} == gone
    assert all(cut.units - len(cut.remove) >= 3 for cut in made.cuts)
    x, _ = data.test.sample(32)
    masked, smaller = (to_numpy(each(x)) for each in (result.stages[0].model, result.model))
    np.testing.assert_allclose(smaller, masked, rtol=1e-4, atol=1e-5)
    assert result.after.macs < result.before.macs
    assert any("went to zero" in line for line in told(result))
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(now), then)


def test_what_comes_out_has_no_penalty_in_it(model, data, tmp_path):
    result = Regularize(**STRONG)(model, data)
    for layer in result.model.layers:
        for weight in layer.weights:
            assert weight.constraint is None
            assert weight.regularizer is None
    result.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x, _ = data.test.sample(8)
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(result.model(x)))


def test_nothing_zero_is_said_and_nothing_is_cut(model, data):
    result = Regularize(strength=1e-6, epochs=1)(model, data)
    assert result.plans == ()
    assert result.after.macs == result.before.macs
    (line,) = told(result, "skipped")
    assert "no unit went to zero, so nothing is cut" in line
    assert "1e-06" in line


def test_zeros_that_rounding_keeps_are_told(model, data):
    result = Regularize(**STRONG | {"round_to": 16})(model, data)
    assert result.plans == ()
    lines = told(result, "skipped")
    assert any("of the zeros stay: widths are multiples of 16" in line for line in lines)
    assert any("smaller round_to" in line for line in lines)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("proximal", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_budget_is_met_by_every_penalty(model, data, penalty, proximal):
    step = Regularize(
        penalty, proximal=proximal, macs=0.5, round_to=2, epochs=2, learning_rate=0.005
    )
    result = step(model, data)
    assert 0.35 < result.after.macs / result.before.macs <= 0.5
    assert result.plan.asked == {"macs": 0.5}
    x, _ = data.test.sample(32)
    masked, smaller = (to_numpy(each(x)) for each in (result.stages[0].model, result.model))
    np.testing.assert_allclose(smaller, masked, rtol=1e-4, atol=1e-5)


def test_a_budget_of_parameters_is_met(model, data):
    result = Regularize(params=0.6, round_to=1, epochs=1)(model, data)
    assert 0.5 < result.after.parameters / result.before.parameters <= 0.6


@pytest.mark.parametrize(("penalty", "strength"), [("greg", 30), ("group_lasso", 1)])
def test_under_a_budget_what_goes_shrinks_and_the_others_are_spared(model, data, penalty, strength):
    """Before they are taken away, the units that go are far smaller than those that stay."""
    seen = {}

    class Look(keras.callbacks.Callback):
        def __init__(self, guide):
            super().__init__()
            self.guide = guide

        def on_train_batch_begin(self, batch, logs=None):
            if self.guide._step <= self.guide._last:
                seen["values"] = self.guide._values()

    from secateur.steps.regularizing import Regularizing

    step = Regularize(
        penalty, strength=strength, macs=0.5, round_to=2, epochs=4, learning_rate=0.05
    )
    guide = Regularizing(trace(model), step.settings())
    fit(model, data, epochs=4, learning_rate=0.05, guide=guide, callbacks=[Look(guide)])
    removed = {cut.group: list(cut.remove) for cut in guide.plan().cuts}
    graph = trace(model)
    first = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    gone, kept, before = [], [], []
    for units in guide.penalty.units:
        norms, stays = units.norms(seen["values"]), np.ones(len(units.group), bool)
        stays[removed.get(units.group.name, [])] = False
        gone += norms[~stays].tolist()
        kept += norms[stays].tolist()
        before += units.norms(first)[stays].tolist()
    assert np.mean(gone) < np.mean(kept) / 2
    assert np.mean(kept) > 0.7 * np.mean(before)


def test_slimming_goes_by_the_scales(model, data):
    result = Regularize("slimming", **STRONG | {"learning_rate": 0.15})(model, data)
    (made,) = result.plans
    assert made.by == "slimming"
    assert len(made.cuts) == 2
    i = keras.Input((8, 8, 4))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(i))
    without = keras.Model(i, layers.Dense(2)(x))
    with pytest.raises(PlanError, match="nothing to penalise") as caught:
        Regularize("slimming")(without, data)
    assert "group_lasso" in caught.value.mend


def test_single_weights_leave_units_empty_in_the_end_and_stay_zero(model, data):
    result = Regularize("l1", **STRONG)(model, data)
    assert result.plans
    kernels = [w for w in result.model.trainable_weights if len(w.shape) > 1]
    assert sum(int((to_numpy(each) == 0).sum()) for each in kernels) > 0


@pytest.mark.long
def test_interrupted_and_resumed_equals_uninterrupted(model, data, tmp_path):
    step = Regularize(macs=0.5, round_to=2, epochs=4, learning_rate=0.01)
    whole = step(model, data)
    from secateur.steps import regularize

    def breaking(*args, **options):
        class Break(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    raise KeyboardInterrupt

        return fit(*args, **options, callbacks=[Break()])

    kept = {"checkpoint": str(tmp_path), "resume": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regularize, "fit", breaking)
        with pytest.raises(KeyboardInterrupt):
            Regularize(macs=0.5, round_to=2, epochs=4, learning_rate=0.01, **kept)(model, data)
    resumed = Regularize(macs=0.5, round_to=2, epochs=4, learning_rate=0.01, **kept)(model, data)
    assert resumed.plan == whole.plan
    for one, other in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    # Once more, from a training that is finished.
    again = Regularize(macs=0.5, round_to=2, epochs=4, learning_rate=0.01, **kept)(model, data)
    assert (again.plan, again.notes) == (resumed.plan, resumed.notes)
    with pytest.raises(OutputError, match="another training"):
        Regularize(macs=0.4, round_to=2, epochs=4, learning_rate=0.01, **kept)(model, data)


def test_a_stream_that_is_normalised_as_a_whole_is_cut_and_healed(data):
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 4))
    x = layers.Dense(16, name="embed")(layers.Reshape((64, 4))(i))
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    model = keras.Model(i, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(x)))
    result = Regularize(macs=0.5, round_to=2, epochs=2)(model, data)
    assert any("norm normalise across units that went" in line for line in told(result))
    assert result.stages[-1].name == "healed"
    assert result.after.macs <= 0.5 * result.before.macs


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"penalty": "l0"}, PlanError, "'l0'"),
        ({"penalty": "greg"}, PlanError, "there is none"),
        ({"strength": 0}, PlanError, "strength must be above 0, received 0"),
        ({"strength": float("nan")}, PlanError, "strength"),
        ({"end": 1.5}, PlanError, "at most 1"),
        ({"round_to": 0}, PlanError, "round_to"),
        ({"floor": 1.0}, PlanError, "floor"),
        ({"macs": 1.2}, BudgetError, "between 0 and 1"),
        ({"macs": 0.5, "params": 0.5}, BudgetError, "exactly one"),
    ],
)
def test_options_out_of_range_are_refused_at_once(options, error, said):
    with pytest.raises(error, match=said):
        Regularize(**options)


def test_what_cannot_be_is_refused_before_the_training(model, data):
    with pytest.raises(DataError, match="training"):
        Regularize()(model)
    with pytest.raises(BudgetError, match="cannot fall"):
        Regularize(macs=0.01, floor=0.5)(model, data)
    with pytest.raises(PlanError, match="matches no layer"):
        Regularize(keep=("nothing*",))(model, data)
