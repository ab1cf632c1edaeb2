import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    ImageSpec,
    NumericColumn,
    Target,
)
from secateur.errors import ModelError
from secateur.models.build import build

CLASSES = Target(name="class", classes=("a", "b", "c"))
NUMBER = NumericColumn(name="n", nullable=True, mean=5, std=2, low=0, high=10)
WORD = CategoricalColumn(name="w", vocabulary=("x", "y"))
OTHER = CategoricalColumn(name="v", vocabulary=tuple(map(str, range(300))))


def image(height: int = 32, width: int = 32, mode: str = "RGB") -> Contract:
    spec = ImageSpec(height=height, width=width, mode=mode)
    return Contract(kind="image", image=spec, target=CLASSES)


def table(*columns, target: Target = CLASSES) -> Contract:
    return Contract(kind="table", columns=columns, target=target)


CONTRACTS = {
    "image": image(),
    "gray image": image(28, 28, "L"),
    "large image": image(160, 200),
    "numbers": table(NUMBER, BooleanColumn(name="b")),
    "words": table(WORD),
    "mixed": table(NUMBER, WORD, OTHER),
    "regression": table(NUMBER, WORD, target=Target(name="y")),
    "sequence": Contract(
        kind="sequence",
        columns=tuple(NumericColumn(name=f"s{i}", low=0, high=1) for i in range(32)),
        shape=(16, 2),
        target=CLASSES,
    ),
    "vectors": Contract(kind="array", shape=(7,), target=CLASSES),
    "series": Contract(kind="array", shape=(20, 3), target=CLASSES),
    "pictures": Contract(kind="array", shape=(16, 16, 1), dtype="uint8", target=CLASSES),
}


def inputs(contract: Contract, rows: int = 4):
    random = np.random.default_rng(0)
    made = {
        name: random.integers(0, 3, (rows, *shape)).astype(dtype)
        for name, (shape, dtype) in contract.inputs().items()
    }
    return made if len(made) > 1 else next(iter(made.values()))


@pytest.mark.parametrize("kind", CONTRACTS)
def test_build_fits_the_contract(kind):
    contract = CONTRACTS[kind]
    model = build(contract, width=8)
    outputs = to_numpy(model(inputs(contract)))
    if contract.task == "classification":
        assert outputs.shape == (4, 3)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
    else:
        assert outputs.shape == (4, 1)


@pytest.mark.parametrize("kind", ["image", "mixed", "sequence"])
def test_build_is_stock_keras_that_saves_and_loads(kind, tmp_path):
    model = build(CONTRACTS[kind], width=8)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = inputs(CONTRACTS[kind])
    np.testing.assert_array_equal(to_numpy(model(x)), to_numpy(again(x)))


def test_build_gives_the_same_weights_for_the_same_seed_alone():
    same, other = build(image(), width=8, seed=3), build(image(), width=8, seed=4)
    for one, two in zip(build(image(), width=8, seed=3).weights, same.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(two))
    assert not np.array_equal(to_numpy(same.weights[0]), to_numpy(other.weights[0]))


def test_build_normalizes_with_the_moments_of_the_contract():
    model = build(table(NUMBER))
    layer = model.get_layer("normalize")
    out = to_numpy(layer(np.array([[7.0, 0.0]], "float32")))
    np.testing.assert_allclose(out, [[1.0, 0.0]], atol=1e-5)


def test_regression_predicts_in_the_unit_of_the_target():
    contract = CONTRACTS["regression"]
    plain, scaled = build(contract), build(contract, target=(100.0, 10.0))
    x = inputs(contract)
    np.testing.assert_allclose(to_numpy(scaled(x)), to_numpy(plain(x)) * 10 + 100, rtol=1e-4)


def test_hidden_widths_are_multiples_of_eight():
    for kind, contract in CONTRACTS.items():
        for layer in build(contract, width=24).layers[:-1]:
            width = getattr(layer, "filters", getattr(layer, "units", 8))
            if not layer.name.endswith("value"):
                assert width % 8 == 0, (kind, layer.name)


def test_a_shape_without_a_default_is_an_error():
    with pytest.raises(ModelError, match="no default model"):
        build(Contract(kind="array", shape=(4, 4, 4, 1), target=CLASSES))
    with pytest.raises(ModelError, match="at least 8"):
        build(image(), width=4)
