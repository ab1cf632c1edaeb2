"""Batches give every sample once an epoch, in an order that the seed and the epoch decide."""

import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data import mapped
from secateur.data.order import Order
from secateur.data.read import read
from secateur.errors import DataError


def dataset(rows=500, **arguments):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": np.arange(rows, dtype=float), "c": rng.choice(list("abc"), rows)})
    data["y"] = np.where(data["x"] % 5 == 0, "rare", "usual")
    return read(data, target="y", **arguments)


def blocks_of(rows, block, seed, shuffle):
    starts = np.arange(0, rows, block)
    return Order(np.minimum(starts + block, rows) - starts, 16 * block, seed, shuffle)


def xs(all_batches):
    return np.concatenate([batch[0]["numeric"][:, 0] for batch in all_batches])


@settings(deadline=None)
@given(
    rows=st.integers(1, 3000),
    block=st.sampled_from([1, 7, 100, 5000]),
    seed=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_an_order_holds_every_row_once(rows, block, seed, shuffle):
    order = blocks_of(rows, block, (seed, 0), shuffle)
    everything = order(np.arange(rows))
    assert sorted(everything.tolist()) == list(range(rows))
    pieces = [order(np.arange(start, min(start + 13, rows))) for start in range(0, rows, 13)]
    assert np.concatenate(pieces).tolist() == everything.tolist()
    assert shuffle or everything.tolist() == list(range(rows))


def test_rows_far_apart_are_mixed_by_blocks():
    order = blocks_of(100_000, 4096, (0, 0), True)
    first = order(np.arange(1000))
    assert first.std() > 10_000


def test_an_epoch_gives_all_samples_and_the_next_another_order():
    split = dataset().train
    shuffled = split.batches(64, shuffle=True, seed=3)
    one = xs(shuffled)
    assert sorted(one) == sorted(xs(split.batches(64)))
    assert len(shuffled) == -(-split.rows // 64)
    shuffled.on_epoch_end()
    two = xs(shuffled)
    assert sorted(two) == sorted(one)
    assert (two != one).any()
    again = split.batches(64, shuffle=True, seed=3)
    again.set_epoch(1)
    np.testing.assert_array_equal(xs(again), two)
    assert (xs(split.batches(64, shuffle=True, seed=4)) != one).any()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_held_and_mapped_samples_are_the_same(monkeypatch, shuffle, workers):
    monkeypatch.setattr(mapped, "_LEAST", 256)
    held, other = dataset(), dataset(cache_bytes=0)
    assert held.train.feed() is None
    assert len(other.train.feed().sizes) > 10
    one, two = (
        xs(d.train.batches(10, shuffle=shuffle, seed=1, workers=workers)) for d in (held, other)
    )
    assert sorted(one) == sorted(two)
    assert shuffle or one.tolist() == two.tolist()
    np.testing.assert_array_equal(held.train.labels(), other.train.labels())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mapped_file_is_read_once_an_epoch(monkeypatch, workers):
    monkeypatch.setattr(mapped, "_LEAST", 256)
    split = dataset(3000, cache_bytes=0).train
    store, read_blocks = split._store, []
    decode = store.decode

    def counted(place, block):
        read_blocks.append(block)
        return decode(place, block)

    monkeypatch.setattr(store, "decode", counted)
    batches = split.batches(10, shuffle=True, workers=workers)
    for index in range(len(batches)):
        batches[index]
    assert sorted(read_blocks) == list(range(-(-split.rows // store.block)))
    assert len(read_blocks) > 50


def test_a_window_of_wide_rows_keeps_to_the_memory_that_is_allowed():
    columns = {f"x{i}": np.arange(200.0) + i for i in range(2000)}
    data = pd.DataFrame({**columns, "y": np.arange(200) % 2})
    store = read(data, target="y", cache_bytes=400_000).train._store
    assert store.window * 8000 <= 100_000
    assert 0 < store.block <= store.window


def test_a_mapped_file_that_is_tidied_away_is_an_error_that_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split = dataset(cache_bytes=0).train
    batches = split.batches(50)
    (file,) = tmp_path.glob("*/0-numeric")
    with open(file, "r+b") as stream:
        stream.truncate(100)
    with pytest.raises(DataError, match="cut short"):
        batches[0]
    file.unlink()
    with pytest.raises(DataError, match="No such file"):
        split.batches(50)[0]


def test_another_process_encodes_mapped_rows_anew():
    here = dataset(5000, cache_bytes=0)
    batches = here.train.batches(100, shuffle=True, seed=2)
    content = pickle.dumps(here)
    there = pickle.loads(content)
    assert there.train._store._encoded is None
    np.testing.assert_array_equal(xs(there.train.batches(100, shuffle=True, seed=2)), xs(batches))


def test_samples_and_labels_stay_together_in_any_order():
    for x, y in dataset().train.batches(32, shuffle=True):
        assert ((x["numeric"][:, 0] % 5 == 0) == (y == 0)).all()


def test_the_last_batch_may_be_filled_up():
    split = dataset().train
    filled = split.batches(128, repeat_last=True)
    sizes = [len(y) for _, y in filled]
    assert sizes == [128] * len(filled)
    assert sum(len(y) for _, y in split.batches(128)) == split.rows


def test_class_weights():
    split = dataset().train
    weights = np.concatenate([w for _, _, w in split.batches(64, class_weights=True)])
    labels = split.labels()
    assert weights.mean() == pytest.approx(1)
    totals = [weights[labels == code].sum() for code in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)
    _, y, w = split.batches(64, class_weights={"rare": 3})[0]
    assert w.tolist() == [3 if code == 0 else 1 for code in y]
    assert len(split.batches(64, class_weights=False)[0]) == 2
    with pytest.raises(DataError, match="no class 'scarce'"):
        split.batches(64, class_weights={"scarce": 3})
    numbers = read(pd.DataFrame({"x": np.arange(99.0), "y": np.arange(99) / 7}), target="y")
    with pytest.raises(DataError, match="the target is a number"):
        numbers.train.batches(9, class_weights=True)


def test_augmentation_is_told_which_batch_it_is():
    seen = []

    def keyed(x, *, key):
        seen.append(key)
        return x

    keyed.keyed = True
    made = dataset().train.batches(200, augment=keyed, seed=7)
    _ = made[0], made[1]
    made.set_epoch(2)
    _ = made[1]
    assert seen == [(7, 0, 0), (7, 0, 1), (7, 2, 1)]
    plain = dataset().train.batches(10, augment=lambda x: {"numeric": x["numeric"] * 0})
    assert plain[0][0]["numeric"].max() == 0


def test_samples_are_drawn_without_replacement():
    split = dataset().train
    x, y = split.sample(50, seed=1)
    assert len(set(x["numeric"][:, 0])) == len(y) == 50
    again, _ = split.sample(50, seed=1)
    np.testing.assert_array_equal(x["numeric"], again["numeric"])
    assert (split.sample(50, seed=2)[0]["numeric"] != x["numeric"]).any()
    assert len(split.sample(10**6)[1]) == split.rows


def test_bad_arguments():
    with pytest.raises(DataError, match="at least one sample, not 0"):
        dataset().train.batches(0)
    with pytest.raises(DataError, match="no split 'dev'; there are train, validation, test"):
        dataset().split("dev")


def test_keras_trains_on_batches():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype("float32")
    data = read((x, (x[:, 0] > 0).astype(int)))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(
        keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    made = data.train.batches(32, shuffle=True)
    history = model.fit(
        made, validation_data=data.validation.batches(64), epochs=5, shuffle=False, verbose=0
    )
    assert made.epoch >= 5
    assert history.history["val_accuracy"][-1] > 0.9
