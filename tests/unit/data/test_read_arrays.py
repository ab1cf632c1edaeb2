"""Arrays (x, y) become a dataset without being copied."""

import numpy as np
import pytest

from secateur.data.read import read
from secateur.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6, 2)).astype("float32")
Y = np.arange(100) % 4


def test_splits_cover_all_samples_and_nothing_is_copied():
    dataset = read((X, Y))
    rows = [
        row["row"] for name in ("train", "validation", "test") for row in all_rows(dataset, name)
    ]
    assert sorted(rows) == list(range(100))
    assert dataset.contract.inputs() == {"array": ((6, 2), "float32")}
    assert dataset.contract.classes == ("0", "1", "2", "3")
    x, y = dataset.test.sample(5, seed=1)
    for value, label, row in zip(
        x, y, dataset.test.rows_as_dicts(dataset.test.sample_rows(5, seed=1)), strict=True
    ):
        np.testing.assert_array_equal(value, X[row["row"]])
        assert label == Y[row["row"]]
    assert np.shares_memory(dataset.train._store.x, X)


def all_rows(dataset, name):
    split = dataset.split(name)
    return split.rows_as_dicts(range(split.rows))


def test_moments_are_those_of_the_training_channels():
    dataset = read((X, Y))
    x, _ = dataset.train.sample(1000)
    mean, variance = dataset.contract.moments()
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(variance, x.var(axis=(0, 1)), rtol=1e-4)


def test_targets_of_every_form():
    words = np.array(["a", "b", "c", "d"])[Y]
    for y in (words, words.astype(object), words.tolist()):
        assert read((X, y)).contract.classes == ("a", "b", "c", "d")
    one_hot = read((X, np.eye(4)[Y]))
    assert one_hot.contract.classes == ("0", "1", "2", "3")
    column = read((X, Y[:, None]))
    np.testing.assert_array_equal(column.train.labels(), one_hot.train.labels())
    assert read((X, Y.astype(bool))).contract.classes == ("False", "True")
    number = read((X, Y * 0.5))
    assert (number.contract.task, number.train.labels().dtype) == ("regression", np.float32)
    above = read((X, Y * 0.5), above=0.5, target="delay")
    assert above.contract.classes == ("<= 0.5", "> 0.5")
    assert above.contract.target.name == "delay"
    assert read((X, Y), class_names=list("wxyz")).contract.classes == tuple("wxyz")


def test_types_of_samples():
    assert read((X.astype("float64"), Y)).train.sample(2)[0].dtype == np.float32
    pixels = RNG.integers(0, 255, (100, 8, 8), np.uint8)
    assert read((pixels, Y)).contract.inputs() == {"array": ((8, 8), "uint8")}


def test_groups_and_targets_that_are_missing():
    people = np.arange(100) // 10
    dataset = read((X, Y), group=people)
    found = [{people[row["row"]] for row in all_rows(dataset, n)} for n in ("train", "test")]
    assert not found[0] & found[1]
    gaps = (Y * 0.5).copy()
    gaps[:3] = np.nan
    dataset = read((X, gaps), group=people)
    assert dataset.rows == 97
    assert dataset.notes[-1] == "3 samples without a target left out"


def test_the_same_arrays_have_the_same_fingerprint():
    assert read((X, Y)).fingerprint == read((X.copy(), Y)).fingerprint
    assert read((X, Y)).fingerprint != read((X + 1, Y)).fingerprint
    assert read((X, Y)).fingerprint != read((X, Y), seed=1).fingerprint


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ((X, Y[:50]), {}, "x has 100 samples, and y has 50"),
        ((X, Y, Y), {}, "not as 3 values"),
        ((X[:, 0, 0], Y), {}, r"x has the shape \(100,\)"),
        ((X[:0], Y[:0]), {}, "x has no samples"),
        ((X.astype(str), Y), {}, "not numbers"),
        (
            (np.where(np.arange(100)[:, None, None] == 7, np.nan, X), Y),
            {},
            "sample 7 holds a number",
        ),
        ((X, np.zeros(100, int)), {}, "y has one class, '0'"),
        ((X, RNG.random((100, 3))), {}, r"y has the shape \(100, 3\)"),
        ((X, Y), {"group": Y[:5]}, "`group` has 5 values for 100 samples"),
        ((X, Y.astype(str)), {"above": 1}, "`above` asks for numbers"),
        ((X[:3], Y[:3]), {}, "split is empty"),
    ],
)
def test_bad_arrays_are_named(source, arguments, message):
    with pytest.raises(DataError, match=message):
        read(source, **arguments)
