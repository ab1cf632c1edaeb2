import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError, ModelError
from secateur.graph.given import labels_of
from secateur.graph.observe import observe
from secateur.graph.trace import trace

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
CODES = np.arange(6) % 2


def model(units=2, end="softmax", shape=(4,)):
    i = keras.Input(shape, name="rows")
    return keras.Model(i, layers.Dense(units, end, name="out")(layers.Dense(3, name="hidden")(i)))


@pytest.fixture(scope="module")
def two_classes():
    return trace(model())


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.eye(2, dtype=int)[CODES], r"of shape \(6\) for this model, received \(6, 2\)"),
        (np.eye(2, dtype="float32")[CODES], "the model gives the chances of 2 classes"),
        (CODES.astype("float32"), "the model gives the chances of 2 classes"),
        (np.array(list("ababab")), "labels are numbers, received <U1"),
        ([[0], [0, 1]], "labels are numbers, received list"),
        (CODES[:4], "6 rows need as many labels, received 4"),
        (1, "6 rows need as many labels, received 1"),
        (CODES + 3, "tells 2 classes apart, received codes from 3 to 4"),
        (CODES - 1, "received codes from -1 to 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_that_do_not_fit_are_named(two_classes, labels, said):
    with pytest.raises(DataError, match=said) as caught:
        observe(two_classes, (X, labels), needs={"taylor"})
    assert caught.value.mend


@pytest.mark.parametrize("need", ["taylor", "fisher", "activations", "moments"])
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X[:, :3], r"rows: the model takes rows of shape \(4\), received \(3\)"),
        (X[..., None], r"received \(4, 1\)"),
        ([X, X], "takes rows, received 2 arrays"),
    ],
    ids=["narrow", "deep", "two"],
)
def test_rows_that_do_not_fit_are_named(two_classes, need, x, said):
    with pytest.raises(DataError, match=said):
        observe(two_classes, (x, CODES), needs={need})


def test_labels_are_compared_with_one_output():
    i = keras.Input((4,))
    both = trace(keras.Model(i, [layers.Dense(2, "softmax")(i), layers.Dense(1)(i)]))
    with pytest.raises(ModelError, match="2 outputs, and labels are compared with one"):
        observe(both, (X, [CODES, CODES]), needs={"fisher"})
    assert observe(both, X, needs={"activations"}).samples == 6


def test_truth_and_lists_are_class_codes(two_classes):
    plain, *others = (
        observe(two_classes, (X, labels), needs={"taylor"}).taylor["out/kernel"]
        for labels in (CODES, CODES.tolist(), CODES.astype(bool), CODES[:, None])
    )
    for other in others:
        np.testing.assert_allclose(other, plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (model(1, "sigmoid"), CODES),
        (model(1, "linear"), X[:, 0]),
        (model(1, "linear"), X[:, :1]),
        (model(3, "linear"), X[:, :3]),
        (model(5, "linear", (None, 4)), np.zeros((6, 7), int)),
    ],
    ids=["two classes in one", "a value", "a column", "three values", "a class a place"],
)
def test_labels_of_the_outputs_shape_fit(given, labels):
    assert labels_of(given, X, labels) is labels


@pytest.mark.parametrize(
    ("given", "labels", "said"),
    [
        (model(1, "sigmoid"), CODES * 4, "tells 2 classes apart, received codes from 0 to 4"),
        (model(3, "linear"), X[:, :2], r"of shape \(6, 3\) for this model, received \(6, 2\)"),
        (model(3, "linear"), X[:, 0], r"received \(6\)"),
    ],
)
def test_labels_of_another_shape_do_not(given, labels, said):
    with pytest.raises(DataError, match=said):
        labels_of(given, X, labels)
