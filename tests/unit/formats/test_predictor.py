"""Whatever the last layer is: one probability a class, or one value a row."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from secateur.errors import ArtifactError, DataError, ModelError
from secateur.formats.onnx import export
from secateur.formats.predictor import Predictor, as_answer


def test_softmax_passes_through(dense, three_classes, rows, tmp_path):
    model = dense()
    predictor = Predictor(export(model, tmp_path / "a", contract=three_classes))
    answer = predictor.predict(rows)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, model(rows), atol=1e-5)
    np.testing.assert_array_equal(predictor.predict({"numeric": rows}), answer)


def test_logits_are_normalised(dense, three_classes, rows, tmp_path):
    import keras

    model = dense(3, None)
    answer = Predictor(export(model, tmp_path / "a", contract=three_classes)).predict(rows)
    np.testing.assert_allclose(answer, keras.ops.softmax(model(rows)), atol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_becomes_two_columns(activation, dense, two_classes, rows, tmp_path):
    import keras

    model = dense(1, activation)
    answer = Predictor(export(model, tmp_path / "a", contract=two_classes)).predict(rows)
    yes = np.asarray(model(rows) if activation else keras.ops.sigmoid(model(rows)))
    np.testing.assert_allclose(answer, np.concatenate([1 - yes, yes], axis=1), atol=1e-5)


def test_value_stays_a_value(dense, price, rows, tmp_path):
    model = dense(1, None)
    answer = Predictor(export(model, tmp_path / "a", contract=price)).predict(rows)
    np.testing.assert_allclose(answer, model(rows), rtol=1e-5, atol=1e-5)


def test_large_logits_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        one = as_answer(np.array([[500.0], [-500.0]]), "logits")
        two = as_answer(np.array([[0.0, 1e4]]), "logits")
    np.testing.assert_allclose(one, [[0, 1], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(two, [[0, 1]], atol=1e-6)


def test_no_rows(dense, two_classes, tmp_path):
    predictor = Predictor(export(dense(1, "sigmoid"), tmp_path / "a", contract=two_classes))
    assert predictor.predict(np.zeros((0, 5), "float32")).shape == (0, 2)


def test_threads_agree(dense, three_classes, tmp_path):
    predictor = Predictor(export(dense(), tmp_path / "a", contract=three_classes))
    batches = np.random.default_rng(0).standard_normal((16, 50, 5)).astype("float32")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(predictor.predict, batches))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer, predictor.predict(batch))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 6), "float32"), r"input 'numeric' takes \(rows, 5\) and received \(4, 6\)"),
        (np.zeros(5, "float32"), r"received \(5,\)"),
        (np.zeros((4, 5), "complex64"), "input 'numeric' takes float32 and received complex64"),
        (
            {"a": np.zeros((4, 5)), "b": np.zeros((4, 5))},
            "input 'numeric' is missing; received a, b",
        ),
    ],
)
def test_input_of_another_shape(x, message, dense, tmp_path):
    predictor = Predictor(export(dense(), tmp_path / "a"))
    with pytest.raises(DataError, match=message):
        predictor.predict(x)


def test_file_that_is_not_a_model(dense, tmp_path):
    artifact = export(dense(), tmp_path / "a")
    artifact.model_path.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="was changed after it was exported") as caught:
        Predictor(artifact)
    assert caught.value.where == str(artifact.model_path)
    with pytest.raises(ArtifactError, match="has 8 bytes"):
        Predictor(tmp_path / "a")


def test_code_that_no_embedding_has(tmp_path):
    import keras

    codes = keras.Input((2,), dtype="int32", name="categorical")
    words = keras.layers.Flatten()(keras.layers.Embedding(4, 3)(codes))
    model = keras.Model(codes, keras.layers.Dense(2)(words))
    predictor = Predictor(export(model, tmp_path / "a"))
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the model") as caught:
        predictor.predict(np.full((1, 2), 9, "int32"))
    assert caught.value.where == str(tmp_path / "a" / "model.onnx")
