import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError
from secateur.steps.explore import explore
from secateur.steps.factorize import Factorize
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.quantize import Quantize
from secateur.steps.regularize import Regularize
from secateur.steps.select import Select
from secateur.steps.sensitivity import sensitivity
from secateur.steps.sparsify import Sparsify
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def model():
    i = keras.Input((4,))
    return keras.Model(i, layers.Dense(2)(layers.Dense(16, "relu", name="hidden")(i)))


ROWS = np.zeros((8, 4), "float32"), np.zeros(8, "int32")
STEPS = (
    Prune(macs=0.5),
    Prune(macs=0.5, by="l2", sensitivity=True),
    Prune(max_drop=1.0),
    Sparsify(0.5),
    Sparsify(0.5, epochs=0),
    FineTune(),
    Regularize(macs=0.5),
    Select(macs=0.5),
    Factorize(macs=0.5),
    Quantize(),
    sensitivity,
    fit,
    lambda model, data: Select(macs=0.5).network(model, data, steps=3),
    lambda model, data: explore(model, data, lambda trial: FineTune()),
)


@pytest.mark.parametrize(
    "data", [ROWS, ROWS[0], {"x": 1}, "rows.csv"], ids=lambda data: type(data).__name__
)
@pytest.mark.parametrize("step", STEPS, ids=range(len(STEPS)))
def test_data_that_is_no_dataset_is_refused(model, step, data):
    with pytest.raises(DataError, match=f"Dataset, received {type(data).__name__}"):
        step(model, data)
