"""What is varied is varied in training alone, and a training that mixes samples can be resumed."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from secateur.data import augment
from secateur.data.read import read
from secateur.errors import DataError
from secateur.evaluation.evaluate import evaluate
from secateur.steps.training import fit

RNG = np.random.default_rng(0)


def images(classes=3, rows=120):
    y = np.arange(rows) % classes
    x = RNG.integers(0, 60, (rows, 8, 8, 3)).astype("uint8")
    x += (120 * np.eye(3)[y][:, None, None]).astype("uint8")
    return read((x, y))


def network(classes=3, shape=(8, 8, 3), logits=False):
    x = inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.GlobalAveragePooling2D()(x) if len(shape) == 3 else layers.Flatten()(x)
    last = None if logits else "softmax" if classes > 1 else "sigmoid"
    start = keras.initializers.HeNormal(seed=2)
    return keras.Model(inputs, layers.Dense(classes, last, kernel_initializer=start)(x))


MIXED = {"mixup": 0.4, "cutmix": 1.0, "rand_augment": 1, "vertical_flip": True}


@pytest.mark.parametrize(
    ("classes", "outputs", "logits"), [(3, 3, False), (3, 3, True), (2, 1, False)]
)
def test_training_on_mixed_samples_learns(classes, outputs, logits):
    data = images(classes)
    trained, curve = fit(
        network(outputs, logits=logits),
        data,
        epochs=20,
        learning_rate=0.2,
        augment={"mixup": 0.2, "cutmix": 0.5, "contrast": 0},
        class_weights=True,
    )
    assert curve.metrics["val_accuracy"][curve.best] > 0.8
    assert evaluate(trained, data.test).accuracy > 0.8


def test_nothing_but_training_batches_is_varied(monkeypatch):
    """Validation, test, and the samples for calibration and healing are as they were read."""
    data = images()
    marked = 255

    def poison(kind, **options):
        return augment.Augmentation([lambda x, draw: np.full_like(x, marked)], 0, mixup=0.5)

    monkeypatch.setattr(augment, "augmentation", poison)
    before = [data.split(name).sample(10**6) for name in ("train", "validation", "test")]
    given = []
    make = type(data.train).batches

    def noted(split, *args, **kwargs):
        given.append((split.name, make(split, *args, **kwargs)))
        return given[-1][1]

    monkeypatch.setattr(type(data.train), "batches", noted)
    trained, _ = fit(network(), data, epochs=1, augment=True)
    evaluate(trained, data.test)
    assert [name for name, _ in given] == ["train", "validation", "test"]
    for name, batches in given:
        for batch in batches:
            assert (batch[0] == marked).all() == (name == "train")
    for (x, y), name in zip(before, ("train", "validation", "test"), strict=True):
        again = data.split(name).sample(10**6)
        np.testing.assert_array_equal(again[0], x)
        np.testing.assert_array_equal(again[1], y)
        assert x.max() < marked


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 0):
            raise KeyboardInterrupt


def test_a_training_on_varied_samples_goes_on_as_it_would_have(tmp_path):
    data = images()
    how = {"epochs": 2, "augment": MIXED, "batch_size": 32, "checkpoint_seconds": 0.0}
    whole, straight = fit(network(), data, **how)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), data, **how, checkpoint=tmp_path, callbacks=[Interrupt()])
    resumed, curve = fit(network(), data, **how, checkpoint=tmp_path, resume=True)
    for left, right in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert curve.metrics == straight.metrics


@pytest.fixture
def photos(tmp_path):
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(30):
            pixels = RNG.integers(level, level + 50, (8, 8, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_image_files_that_do_not_fit_in_memory_train_as_those_that_do(photos):
    how = {"epochs": 2, "augment": {"flip": True, "rand_augment": 1}, "learning_rate": 0.05}
    held, _ = fit(network(2), read(photos), **how)
    data = read(photos, cache_bytes=0)
    assert data.train._store.pixels is None
    read_anew, _ = fit(network(2), data, **how)
    for left, right in zip(held.get_weights(), read_anew.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_an_image_that_disappears_is_named(photos, tmp_path):
    data = read(photos, cache_bytes=0)
    gone = data.train.rows_as_dicts([3])[0]["file"]

    class Remove(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (photos / gone).unlink(missing_ok=True)

    with pytest.raises(DataError, match=f"{gone}: the file cannot be read.*after epoch 1 is kept"):
        fit(network(2), data, epochs=3, checkpoint=tmp_path / "kept", callbacks=[Remove()])


def test_what_cannot_be_done_to_the_data_is_said_before_or_in_training():
    with pytest.raises(DataError, match="`swap` is for table, and this is array"):
        fit(network(), images(), augment={"swap": 0.1})
    x = RNG.normal(size=(90, 8, 8, 3)).astype("float32")
    with pytest.raises(DataError, match="`rand_augment` is for images of bytes, not for float32"):
        fit(network(), read((x, np.arange(90) % 3)), augment={"rand_augment": 1})
