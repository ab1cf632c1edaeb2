from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.contract import Contract, NumericColumn, Target
from secateur.errors import DataError
from secateur.evaluation.evaluate import evaluate, predict

CONTRACT = Contract(
    kind="table",
    columns=(NumericColumn(name="n", low=0, high=1),),
    target=Target(name="t", classes=("low", "high")),
)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, size):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return self.x[part], self.y[part]


def split(rows: int):
    x = np.linspace(0, 1, rows, dtype="float32").reshape(-1, 1)
    y = (x[:, 0] > 0.5).astype("int32")
    return SimpleNamespace(
        name="test", rows=rows, contract=CONTRACT, batches=lambda size: Batches(x, y, size)
    )


def model() -> keras.Model:
    inputs = keras.Input((1,))
    made = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    made.set_weights([np.array([[20.0]]), np.array([-10.0])])
    return made


def test_a_model_and_a_function_give_the_same():
    made = model()
    of_model = evaluate(made, split(11), batch_size=4)
    of_function = evaluate(lambda x: 1 / (1 + np.exp(10 - 20 * x)), split(11), batch_size=4)
    assert of_model == of_function
    assert (of_model.rows, of_model.accuracy) == (11, 1.0)


def test_one_logit_is_taken_for_one():
    inputs = keras.Input((1,))
    logits = keras.Model(inputs, layers.Dense(1)(inputs))
    logits.set_weights([np.array([[0.2]]), np.array([-0.1])])
    found = evaluate(logits, split(11))
    assert (found.accuracy, found.auc) == (1.0, 1.0)


def test_every_row_is_seen_once_and_in_order():
    truth, outputs = predict(lambda x: x, split(10), batch_size=3)
    np.testing.assert_allclose(outputs[:, 0], np.linspace(0, 1, 10), rtol=1e-6)
    np.testing.assert_array_equal(truth, outputs[:, 0] > 0.5)


def test_an_empty_split_is_an_error():
    with pytest.raises(DataError, match="no rows"):
        evaluate(model(), split(0))
