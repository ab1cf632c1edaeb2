import keras
import pytest
from keras import layers

from secateur.data.contract import (
    CategoricalColumn,
    Contract,
    ImageSpec,
    NumericColumn,
    Target,
)
from secateur.errors import ModelError
from secateur.models.build import build
from secateur.models.fits import check_fits, image_size

TWO = Target(name="class", classes=("a", "b"))
THREE = Target(name="class", classes=("a", "b", "c"))


def image(side: int, target: Target = THREE, mode: str = "RGB") -> Contract:
    spec = ImageSpec(height=side, width=side, mode=mode)
    return Contract(kind="image", image=spec, target=target)


def dense(units: int, *shape: int) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(units)(layers.Flatten()(inputs)))


def test_a_model_built_for_the_contract_fits():
    mixed = Contract(
        kind="table",
        columns=(
            NumericColumn(name="n", low=0, high=1),
            CategoricalColumn(name="c", vocabulary=("x",)),
        ),
        target=THREE,
    )
    for contract in (image(16), mixed):
        check_fits(build(contract, width=8), contract)


def test_another_image_size_names_both_shapes_and_the_mend():
    with pytest.raises(ModelError) as caught:
        check_fits(dense(3, 128, 96, 1), image(64))
    assert "(128, 96, 1)" in caught.value.what
    assert "(64, 64, 3)" in caught.value.what
    assert caught.value.mend == "Set data.image_size to [128, 96] and data.mode to L."


def test_any_size_fits_a_model_without_one():
    inputs = keras.Input((None, None, 3))
    check_fits(keras.Model(inputs, layers.GlobalMaxPooling2D()(inputs)), image(64))


def test_the_number_of_outputs_must_be_that_of_the_classes():
    check_fits(dense(1, 8, 8, 3), image(8, TWO))
    check_fits(dense(2, 8, 8, 3), image(8, TWO))
    with pytest.raises(ModelError, match="3 classes"):
        check_fits(dense(10, 8, 8, 3), image(8))
    with pytest.raises(ModelError, match="3 classes"):
        check_fits(dense(1, 8, 8, 3), image(8))


def test_regression_needs_one_value():
    contract = Contract(
        kind="table", columns=(NumericColumn(name="n", low=0, high=1),), target=Target(name="y")
    )
    check_fits(dense(1, 1), contract)
    with pytest.raises(ModelError, match="a number"):
        check_fits(dense(2, 1), contract)


def test_inputs_must_be_as_many_and_named_alike():
    columns = (
        NumericColumn(name="n", low=0, high=1),
        CategoricalColumn(name="c", vocabulary=("x",)),
    )
    contract = Contract(kind="table", columns=columns, target=THREE)
    with pytest.raises(ModelError, match="'numeric', 'categorical'"):
        check_fits(dense(3, 1), contract)
    one, two = keras.Input((1,), name="numeric"), keras.Input((1,), name="other")
    model = keras.Model([one, two], layers.Dense(3)(layers.Concatenate()([one, two])))
    with pytest.raises(ModelError, match="no input named 'categorical'"):
        check_fits(model, contract)


def test_image_size_is_read_from_the_model():
    assert image_size(dense(3, 128, 96, 1)) == (128, 96, "L")
    assert image_size(dense(3, 32, 32, 3)) == (32, 32, "RGB")
    assert image_size(dense(3, 42)) is None
