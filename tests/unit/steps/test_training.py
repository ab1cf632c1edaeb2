import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.contract import Contract, NumericColumn, Target
from secateur.data.dataset import Dataset
from secateur.errors import DataError, ModelError, OutputError, RecipeError
from secateur.evaluation.evaluate import evaluate
from secateur.graph.trace import trace
from secateur.steps.masking import Masking
from secateur.steps.regularize import Regularize
from secateur.steps.regularizing import Regularizing
from secateur.steps.sparsify import Sparsify, kernels_of
from secateur.steps.training import default_batch_size, fit

CONTRACT = Contract(
    kind="table",
    columns=tuple(NumericColumn(name=f"n{i}", low=-4, high=4) for i in range(4)),
    target=Target(name="t", classes=("low", "high")),
)


class Table:
    """Samples in memory: what a split is made of, with features that the tests can reach."""

    def __init__(self, share):
        self.x, self.y = {}, {}
        for place, rows in enumerate((160, 60, 0)):
            random = np.random.default_rng(place)
            self.x[place] = random.normal(size=(rows, 4)).astype("float32")
            total = self.x[place].sum(axis=1)
            self.y[place] = (total > (np.quantile(total, share) if rows else 0)).astype("int32")

    def count(self, place):
        return len(self.y[place])

    def labels(self, place):
        return self.y[place]

    def take(self, place, rows):
        return self.x[place][rows]


def dataset(share=0.5):
    facts = {"notes": (), "source": "table", "digest": "0", "splitting": {}}
    return Dataset.of(Table(share), CONTRACT, **facts)


def model(dropout=0.2):
    x = inputs = keras.Input((4,))
    x = layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(seed=1))(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(dropout)(layers.ReLU()(x))
    start = keras.initializers.HeNormal(seed=2)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", kernel_initializer=start)(x))


def weights(of):
    return [keras.ops.convert_to_numpy(each) for each in of.weights]


def assert_same(one, two):
    for left, right in zip(weights(one), weights(two), strict=True):
        np.testing.assert_array_equal(left, right)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.params["epochs"] and self.seen == self.epoch and batch == 1:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = epoch


def test_fit_learns_and_leaves_its_input_as_it_was():
    start = model()
    before = [each.copy() for each in weights(start)]
    trained, curve = fit(start, dataset(), epochs=8, learning_rate=0.02)
    for now, then in zip(weights(start), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert curve.metrics["val_accuracy"][curve.best] > 0.85
    assert curve.epochs == 8
    assert trained is not start


def test_the_best_epoch_is_the_one_given_back():
    data = dataset()
    trained, curve = fit(model(), data, epochs=6, learning_rate=0.05, batch_size=32)
    losses = curve.metrics["val_loss"]
    assert curve.best == int(np.argmin(losses))
    x, y = data.validation.sample(60)
    outputs = keras.ops.convert_to_numpy(trained(x))
    loss = -np.log(outputs[np.arange(60), y]).mean()
    np.testing.assert_allclose(loss, losses[curve.best], rtol=1e-4)


def test_the_same_seed_gives_the_same_model():
    one, _ = fit(model(), dataset(), epochs=2, seed=5)
    two, _ = fit(model(), dataset(), epochs=2, seed=5)
    other, _ = fit(model(), dataset(), epochs=2, seed=6)
    assert_same(one, two)
    assert not np.array_equal(weights(one)[0], weights(other)[0])


def test_fit_does_not_touch_the_random_state_of_the_process():
    np.random.seed(3)
    expected = np.random.random(3)
    np.random.seed(3)
    fit(model(), dataset(), epochs=1)
    np.testing.assert_array_equal(np.random.random(3), expected)


@pytest.mark.parametrize("broken_in", [1, pytest.param(3, marks=pytest.mark.long)])
def test_interrupted_and_resumed_equals_uninterrupted(broken_in, tmp_path):
    kind = {"epochs": 5, "learning_rate": 0.02, "batch_size": 32}
    whole, straight = fit(model(), dataset(), **kind)
    with pytest.raises(KeyboardInterrupt):
        fit(model(), dataset(), **kind, checkpoint=tmp_path, callbacks=[Interrupt(broken_in)])
    resumed, curve = fit(model(), dataset(), **kind, checkpoint=tmp_path, resume=True)
    assert_same(whole, resumed)
    assert curve.metrics == straight.metrics
    assert curve.best == straight.best


def test_a_finished_training_is_not_done_again(tmp_path):
    first, _ = fit(model(), dataset(), epochs=2, checkpoint=tmp_path)
    again, curve = fit(
        model(), dataset(), epochs=2, checkpoint=tmp_path, resume=True, callbacks=[Interrupt(0)]
    )
    assert_same(first, again)
    assert curve.epochs == 2


def test_a_state_of_another_training_is_refused(tmp_path):
    fit(model(), dataset(), epochs=2, checkpoint=tmp_path)
    with pytest.raises(OutputError, match="another training"):
        fit(model(), dataset(), epochs=3, checkpoint=tmp_path, resume=True)
    (tmp_path / "training.npz").write_bytes(b"nonsense")
    with pytest.raises(OutputError, match="cannot be read"):
        fit(model(), dataset(), epochs=2, checkpoint=tmp_path, resume=True)


def test_patience_stops_early():
    _, curve = fit(model(), dataset(), epochs=50, learning_rate=0.3, patience=2)
    assert curve.epochs < 50
    assert curve.best == curve.epochs - 3


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("kind", ["masks", "penalty"])
def test_a_guide_that_meets_a_weight_that_is_no_number_names_the_state(tmp_path, kind, checkpoint):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.set_weights([each * np.nan for each in self.model.get_weights()])

    given = model()
    graph = trace(given)
    if kind == "masks":
        guide = Masking(graph, kernels_of(graph), Sparsify(0.5, every=1).settings())
    else:
        guide = Regularizing(graph, Regularize(macs=0.5, round_to=1).settings())
    how = {"checkpoint": tmp_path} if checkpoint else {}
    with pytest.raises(ModelError, match="a weight became NaN or infinite") as caught:
        fit(given, dataset(), epochs=2, **how, guide=guide, callbacks=[Poison()])
    said = f"The state after epoch 1 is kept in {tmp_path}."
    assert (said in caught.value.what) == checkpoint


def test_a_loss_that_is_no_number_is_an_error_and_keeps_the_state(tmp_path):
    data = dataset()
    features = data.train._store.x[0]

    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                features[:] = np.nan

    with pytest.raises(ModelError, match="became nan in epoch 3") as caught:
        fit(model(), data, epochs=4, checkpoint=tmp_path, callbacks=[Poison()])
    assert "learning_rate" in caught.value.mend
    assert f"The state after epoch 2 is kept in {tmp_path}." in caught.value.what
    with np.load(tmp_path / "training.npz") as kept:
        assert all(np.isfinite(kept[each]).all() for each in kept.files if each != "told")


def test_class_weights_find_the_rare_class():
    data = dataset(share=0.93)
    kind = {"epochs": 4, "learning_rate": 0.01}
    plain, _ = fit(model(0), data, **kind)
    weighted, _ = fit(model(0), data, **kind, class_weights=True)
    x, y = data.validation.sample(60)
    rare = x[y == 1]

    def found(trained):
        return (keras.ops.convert_to_numpy(trained(rare)).argmax(axis=1) == 1).mean()

    assert found(weighted) > found(plain)


def test_class_weights_are_named_by_class():
    trained, _ = fit(model(), dataset(), epochs=1, class_weights={"high": 3})
    assert trained.count_params() == model().count_params()
    with pytest.raises(DataError, match="'hi'"):
        fit(model(), dataset(), epochs=1, class_weights={"hi": 3})


def test_settings_out_of_range_are_errors():
    for wrong in ({"epochs": 0}, {"learning_rate": -1.0}, {"batch_size": 0}, {"patience": 0}):
        with pytest.raises(RecipeError, match="above 0"):
            fit(model(), dataset(), **{"epochs": 1, **wrong})


def test_the_default_batch_suits_the_number_of_rows():
    assert default_batch_size(10) == 32
    assert default_batch_size(1237) == 32
    assert default_batch_size(5000) == 128
    assert default_batch_size(200_000) == 1024


def test_fit_is_quiet(capfd):
    fit(model(), dataset(), epochs=1)
    assert capfd.readouterr() == ("", "")


def test_verbose_tells_of_every_epoch(capfd):
    fit(model(), dataset(), epochs=2, verbose=True)
    told = capfd.readouterr().err
    assert "epoch 2 of 2" in told
    assert "validation" in told


def test_the_accuracy_of_one_logit_is_that_of_its_sign():
    data = dataset()
    inputs = keras.Input((4,))
    near = layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.05))
    trained, curve = fit(
        keras.Model(inputs, near(inputs)), data, epochs=1, learning_rate=1e-9, batch_size=32
    )
    found = evaluate(trained, data.validation).accuracy
    assert curve.metrics["val_accuracy"][0] == pytest.approx(found)
    assert found > 0.9
