import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from secateur.cost.cost import Latency
from secateur.cost.runtimes import RUNTIMES, TITLE
from secateur.data.read import read
from secateur.errors import DataError, ModelError, PlanError
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.patterns import Block, NofM, Unstructured
from secateur.steps import zeros as zeros_buy
from secateur.steps.masking import Masked, Masking
from secateur.steps.sparsify import Sparsify, kernels_of
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(320, 8, 8, 4)).astype("float32")
    return read((x, (x.mean(axis=(1, 2)) @ [1, -1, 0.5, 2] > 0).astype("int32")))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = i = keras.Input((8, 8, 4), name="array")
    x = layers.Conv2D(16, 3, kernel_constraint=keras.constraints.MaxNorm(0.5), name="first")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.SeparableConv2D(16, 3, activation="relu", name="second")(x)
    x = layers.LSTM(8, name="cells")(layers.Reshape((16, 16))(x))
    return keras.Model(i, layers.Dense(2, "softmax", name="last")(x))


def kernels(model):
    graph = trace(model)
    return {key: to_numpy(graph.variables[key]) for key in kernels_of(graph)}


def zeros(model):
    return {key: int((value == 0).sum()) for key, value in kernels(model).items()}


QUICK = {"epochs": 2, "every": 3, "learning_rate": 0.01, "cut_empty": False}


class Watch(keras.callbacks.Callback):
    """After each step, count zeros and weights that a mask has missed."""

    def __init__(self, graph, masking):
        super().__init__()
        self.graph, self.masking = graph, masking
        self.missed, self.active, self.masks = 0, [], []

    def on_train_batch_end(self, batch, logs=None):
        variables = self.graph.variables_of(self.model)
        sync = getattr(self.model, "jax_state_sync", None)
        if sync:
            sync()
        masks = self.masking.masks
        for key, mask in masks.items():
            self.missed += int((to_numpy(variables[key])[~mask] != 0).sum())
        self.active.append({key: int(mask.sum()) for key, mask in masks.items()})
        self.masks.append({key: mask.copy() for key, mask in masks.items()})


def watched(model, data, step):
    graph = trace(model)
    masking = Masking(graph, kernels_of(graph), step.settings())
    watch = Watch(graph, masking)
    fit(model, data, epochs=step.epochs, learning_rate=0.01, guide=masking, callbacks=[watch])
    return watch, masking


@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_share_is_reached_exactly(model, data, scope):
    result = Sparsify(0.8, pattern=Unstructured(scope), **QUICK)(model, data)
    sizes = {key: value.size for key, value in kernels(model).items()}
    found = zeros(result.model)
    if scope == "global":
        assert sum(found.values()) == round(0.8 * sum(sizes.values()))
    else:
        assert found == {key: round(0.8 * size) for key, size in sizes.items()}
    assert result.after.macs == result.before.macs
    assert [stage.name for stage in result.stages] == ["sparse"]
    assert result.curves[0][1].epochs == 2


def test_two_of_four_hold_in_every_row_after_training(model, data):
    result = Sparsify(pattern=NofM(2, 4), **QUICK)(model, data)
    graph = trace(result.model)
    for key, layout in kernels_of(graph).items():
        whole = layout.unrolled(to_numpy(graph.variables[key]))
        rows = whole.shape[1] // 4
        head = whole[:, : rows * 4].reshape(whole.shape[0], rows, 4, -1)
        assert ((head != 0).sum(axis=2) <= 2).all(), key
        assert (whole[:, rows * 4 :] != 0).all(), key


def test_blocks_are_zero_as_a_whole(model, data):
    result = Sparsify(0.5, pattern=Block(4, 4), **QUICK)(model, data)
    kernel = to_numpy(result.model.get_layer("first").kernel).reshape(9, 4, 4, 4)
    empty = (kernel == 0).all(axis=(1, 3))
    assert empty.sum() == (kernel == 0).sum() / 16 == 18


@pytest.mark.parametrize("method", ["gradual", "set", "rigl"])
def test_zeros_stay_zeros_at_every_step(model, data, method):
    watch, _ = watched(model, data, Sparsify(0.7, method=method, every=2, epochs=2))
    assert watch.missed == 0
    assert len(watch.active) > 8


@pytest.mark.parametrize("method", ["set", "rigl"])
def test_weights_move_and_their_number_stays(model, data, method):
    watch, masking = watched(model, data, Sparsify(0.7, method=method, every=2, epochs=2))
    assert all(active == watch.active[0] for active in watch.active)
    first, last = watch.masks[0], watch.masks[-1]
    assert all((first[key] != last[key]).any() for key in ("first/kernel", "cells/kernel"))
    assert masking.updates > 2


def test_gradual_sparsity_grows_and_what_went_stays_gone(model, data):
    watch, masking = watched(model, data, Sparsify(0.8, every=2, epochs=2))
    totals = [sum(active.values()) for active in watch.active]
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) > 3
    for one, other in zip(watch.masks, watch.masks[1:], strict=False):
        assert not any((other[key] & ~one[key]).any() for key in one)
    assert len(set(totals[masking.last :])) == 1


def test_rigl_grows_where_the_gradient_of_a_zero_is_large(model, data):
    graph = trace(model)
    masking = Masking(graph, kernels_of(graph), Sparsify(0.7, method="rigl").settings())
    trained, _ = fit(model, data, epochs=1, guide=masking)
    heard = masking._gradients.values()
    gone = [~mask for mask in masking.masks.values()]
    gradients = [to_numpy(each)[out] for each, out in zip(heard, gone, strict=True)]
    assert all((gradient != 0).any() for gradient in gradients)
    assert trained is not model


def test_the_given_model_is_untouched(model, data):
    before = [to_numpy(each).copy() for each in model.weights]
    constraints = [each.constraint for each in model.weights]
    Sparsify(0.5, **QUICK)(model, data)
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, to_numpy(other))
    assert constraints == [each.constraint for each in model.weights]


def test_a_constraint_of_the_users_survives_and_holds(model, data):
    result = Sparsify(0.5, **(QUICK | {"learning_rate": 0.1}))(model, data)
    layer = result.model.get_layer("first")
    assert isinstance(layer.kernel_constraint, keras.constraints.MaxNorm)
    assert isinstance(layer.kernel.constraint, keras.constraints.MaxNorm)
    norms = np.sqrt((to_numpy(layer.kernel) ** 2).sum(axis=0))
    assert norms.max() <= 0.5 + 1e-5
    assert not any(isinstance(each.constraint, Masked) for each in result.model.weights)


def test_masking_comes_after_the_constraint():
    mask = keras.Variable(np.array([1.0, 0.0], "float32"))
    both = Masked(mask, keras.constraints.NonNeg())
    np.testing.assert_array_equal(to_numpy(both(np.array([-2.0, 3], "float32"))), [0, 0])


def test_stock_keras_loads_the_result(model, data, tmp_path):
    result = Sparsify(0.5, **QUICK)(model, data)
    x, _ = data.test.sample(8)
    np.savez(tmp_path / "rows.npz", x=x, y=to_numpy(result.model(x)))
    result.model.save(tmp_path / "model.keras")
    program = (
        "import sys; sys.modules['secateur'] = None; import keras, numpy as np;"
        "m = keras.models.load_model('model.keras'); r = np.load('rows.npz');"
        "assert np.allclose(keras.ops.convert_to_numpy(m(r['x'])), r['y'], atol=1e-5)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("method", ["gradual", "set"])
def test_the_same_seed_gives_the_same_zeros(model, data, method):
    step = Sparsify(0.6, method=method, **(QUICK | {"seed": 3}))
    one, other = (kernels(step(model, data).model) for _ in range(2))
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key])


def test_another_seed_moves_other_weights(model, data):
    steps = [Sparsify(0.6, method="set", **QUICK, seed=seed) for seed in (0, 1)]
    one, other = (kernels(step(model, data).model)["first/kernel"] for step in steps)
    assert ((one == 0) != (other == 0)).any()


@pytest.mark.long
def test_a_resumed_training_has_the_zeros_of_one_in_one_go(model, data, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    options = {**QUICK, "method": "set", "epochs": 4}
    whole = Sparsify(0.6, **options)(model, data)
    step = Sparsify(0.6, **options, checkpoint=str(tmp_path), resume=True)
    graph = trace(model)
    guide = Masking(graph, kernels_of(graph), step.settings())
    same = {"epochs": 4, "learning_rate": 0.01, "checkpoint": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fit(graph.model, data, **same, guide=guide, callbacks=[Stop()])
    resumed = step(model, data)
    for one, other in zip(whole.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_by_movement_what_grew_away_from_zero_stays(model, data):
    step = Sparsify(0.5, by="movement", every=3, epochs=2, learning_rate=0.01, cut_empty=False)
    start, end = kernels(model), kernels(step(model, data).model)
    for key in ("cells/kernel", "first/kernel"):
        kept = end[key] != 0
        assert kept.sum() == end[key].size // 2
        assert np.median(np.abs(end[key][kept]) - np.abs(start[key][kept])) > 0
        # The largest stay by magnitude, and not all of them by movement.
        assert np.abs(start[key][kept]).min() < np.median(np.abs(start[key]))


def test_without_training_the_smallest_go_and_no_data_is_needed(model):
    result = Sparsify(0.75, epochs=0, cut_empty=False)(model)
    before, after = kernels(model), kernels(result.model)
    for key, value in before.items():
        gone = after[key] == 0
        assert np.abs(value[gone]).max() <= np.abs(value[~gone]).min()
        np.testing.assert_array_equal(value[~gone], after[key][~gone])
    assert result.curves == ()


def test_what_is_to_stay_dense_stays_dense_and_frozen_layers_too(model, data):
    twin = keras.models.clone_model(model)
    twin.get_layer("last").trainable = False
    result = Sparsify(0.5, keep=("first", "second/pointwise*"), epochs=0)(twin)
    touched = {note.where for note in result.notes if note.where}
    assert touched == {"second/depthwise_kernel", "cells/kernel", "cells/recurrent_kernel"}


def test_embeddings_are_masked_when_asked():
    i = keras.Input((4,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(9, 8, name="table")(i))
    model = keras.Model(i, layers.Dense(3)(x))
    dense = Sparsify(0.5, epochs=0, cut_empty=False)(model)
    assert (to_numpy(dense.model.get_layer("table").embeddings) != 0).all()
    both = Sparsify(0.5, epochs=0, also=("table",), cut_empty=False)(model)
    assert (to_numpy(both.model.get_layer("table").embeddings) == 0).sum() == 36


def test_notes_tell_what_zeros_buy(model, data):
    notes = Sparsify(0.9, **QUICK)(model, data).notes
    told = "\n".join(map(str, notes))
    assert "90.0% of" in told
    assert "compressed" in told
    assert any(note.kind == "skipped" and "time was not measured" in note.what for note in notes)
    assert any(note.where == "cells/kernel" for note in notes)


def test_a_layer_too_narrow_for_the_pattern_is_said_to_stay_dense(data):
    i = keras.Input((8, 8, 4), name="array")
    x = layers.Conv2D(3, 3, name="narrow")(i)
    x = layers.Conv2D(8, 3, name="wide")(x)
    model = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    notes = Sparsify(pattern=NofM(2, 4), epochs=0)(model).notes
    assert any("fewer than 4 inputs" in note.what and note.where == "wide/kernel" for note in notes)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "sparsity must be a share"),
        ({"sparsity": 0}, "sparsity must be a share"),
        ({"sparsity": 1.0}, "sparsity must be a share"),
        ({"sparsity": True}, "sparsity must be a share"),
        ({"sparsity": 0.7, "pattern": NofM(2, 4)}, "has 0.5 of its weights zero, not 0.7"),
        ({"sparsity": 0.5, "schedule": "cubed"}, "no schedule 'cubed'"),
        ({"sparsity": 0.5, "schedule": lambda progress: 0.5 * progress}, "ends at 0.5"),
        ({"sparsity": 0.5, "by": "size"}, "no by 'size'"),
        ({"sparsity": 0.5, "method": "snip"}, "no method 'snip'"),
        ({"sparsity": 0.5, "every": 0}, "every must be"),
        ({"sparsity": 0.5, "end": 0}, "end must be"),
        ({"sparsity": 0.5, "drop": 1}, "drop must be"),
        ({"sparsity": 0.5, "keep": ("nowhere",)}, "'nowhere' matches no trainable weight"),
        ({"sparsity": 0.5, "keep": ("*",)}, "no weight of this model can be masked"),
        ({"pattern": NofM(2, 4), "method": "rigl"}, "moves single weights"),
        ({"sparsity": 0.5, "method": "set", "schedule": "linear"}, "received a schedule"),
        ({"sparsity": 0.5, "method": "set", "epochs": 0}, "received epochs=0"),
        ({"sparsity": 0.5, "by": "movement", "schedule": "one_shot"}, "have not moved"),
        ({"sparsity": 0.5, "by": "movement", "method": "rigl"}, "have not moved"),
        ({"sparsity": "0.5"}, "sparsity must be a share"),
        ({"sparsity": 0.5, "pattern": "2:4"}, "pattern must be a pattern of zeros"),
        ({"sparsity": 0.5, "end": "half"}, "end must be"),
        ({"sparsity": 0.5, "drop": None}, "drop must be"),
        ({"sparsity": 0.5, "epochs": 1.5}, "epochs must be a whole number"),
        ({"sparsity": 0.5, "round_to": True}, "round_to must be a whole number"),
        ({"sparsity": 0.5, "batch_size": 0}, "batch_size must be a whole number"),
        ({"sparsity": 0.5, "learning_rate": "fast"}, "learning_rate must be a number"),
        ({"sparsity": 0.5, "seed": -1}, "seed must be a whole number"),
        ({"sparsity": 0.5, "keep": "first"}, "keep must be a tuple"),
        ({"sparsity": 0.5, "cut_empty": "no"}, "cut_empty must be True or False"),
        ({"sparsity": 0.5, "epochs": 0, "schedule": "linear"}, "schedule is of the training"),
        ({"sparsity": 0.5, "epochs": 0, "every": 5}, "every is of the training"),
        ({"sparsity": 0.5, "epochs": 0, "learning_rate": 0.1}, "learning_rate is of the training"),
        ({"sparsity": 0.5, "drop": 0.5}, "drop is of the methods that move zeros"),
        ({"sparsity": 0.5, "cut_empty": False, "round_to": 4}, "round_to is of the cut"),
        ({"sparsity": 0.5, "resume": True}, "resume goes on from a checkpoint"),
    ],
)
def test_bad_options_are_refused(model, data, options, match):
    with pytest.raises(PlanError, match=match):
        Sparsify(**options)(model, data)


def test_a_runtime_that_is_not_known_is_refused_before_training(model, data):
    with pytest.raises(ModelError, match="no runtime 'abacus'"):
        Sparsify(0.5, runtime="abacus")(model, data)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_runtime_that_is_named_is_the_one_that_is_timed(model, runtime, monkeypatch):
    written, raced = [], []

    def write(model, runtime, folder):
        written.append(runtime)
        return folder / "model"

    def race(paths, *, batch, runtime):
        raced.append(runtime)
        one = Latency(runtime=runtime, batch=batch, threads=1, median_ms=2, p95_ms=3, runs=9)
        return dict.fromkeys(paths, one)

    monkeypatch.setattr(zeros_buy, "write_for", write)
    monkeypatch.setattr(zeros_buy, "race", race)
    note = zeros_buy.on_the_clock(model, model, runtime)
    assert (written, raced) == ([runtime] * 2, [runtime])
    assert TITLE[runtime] in note.what
    assert "(1.00x)" in note.what


def test_training_needs_data(model):
    with pytest.raises(DataError, match="needs data"):
        Sparsify(0.5)(model)


def test_weights_that_are_not_finite_are_refused(model, data):
    twin = keras.models.clone_model(model)
    layer = twin.get_layer("last")
    layer.kernel.assign(np.full(layer.kernel.shape, np.nan))
    with pytest.raises(ModelError, match="NaN"):
        Sparsify(0.5, **QUICK)(twin, data)


def test_a_training_that_diverges_is_a_clear_error(model, data):
    with pytest.raises(ModelError, match=r"NaN|became"):
        Sparsify(0.5, **(QUICK | {"learning_rate": 1e30}), keep=("first",))(model, data)


def test_too_short_a_training_to_move_weights_is_said(model, data):
    notes = Sparsify(0.5, method="rigl", epochs=1, cut_empty=False)(model, data).notes
    assert any("no weight moved" in note.what for note in notes)


def test_that_all_zeros_come_at_once_is_said_unless_it_is_asked_for(model, data):
    for schedule, said in ((None, True), ("one_shot", False)):
        step = Sparsify(0.5, epochs=1, every=50, schedule=schedule, cut_empty=False)
        notes = step(model, data).notes
        assert any("all zeros came at once" in note.what for note in notes) == said


def test_movement_is_refused_where_nothing_moves_before_the_masks_are_set(model, data):
    with pytest.raises(PlanError, match="no weight has moved") as refused:
        Sparsify(0.5, by="movement", epochs=1, every=50)(model, data)
    assert "smaller `every` (it is 50)" in str(refused.value)


def test_a_step_is_its_own_recipe():
    step = Sparsify(0.5, pattern=Block(1, 4), schedule="linear", epochs=3)
    names = {"Sparsify": Sparsify, "Block": Block}
    assert eval(repr(step), names) == step
