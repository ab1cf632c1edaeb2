"""Models that are refused before anything is traced, by the name of the layer."""

import keras
import pytest
from keras import layers

from secateur.errors import ModelError
from secateur.graph.trace import trace


def chain(**more) -> keras.Model:
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="first"), layers.Dense(4, name="second", **more)]
    )


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_less_than_float32_is_refused_by_name(policy):
    with pytest.raises(ModelError, match=policy) as caught:
        trace(chain(dtype=policy))
    assert caught.value.where == "second"
    assert "float32" in caught.value.mend


def test_a_quantized_model_is_refused_by_name():
    model = chain()
    model.quantize("int8")
    with pytest.raises(ModelError, match="quantized") as caught:
        trace(model)
    assert caught.value.where == "first"
    assert "quantize" in caught.value.mend


def test_an_unbuilt_layer_is_named():
    with pytest.raises(ModelError, match="not built") as caught:
        trace(keras.Sequential([layers.Dense(3, name="loose")]))
    assert caught.value.where == "loose"


def test_a_float32_model_inside_a_mixed_one_of_no_weights_is_traced():
    i = keras.Input((8,), dtype="uint8")
    x = layers.Rescaling(1 / 255)(i)
    assert trace(keras.Model(i, layers.Dense(2)(layers.Dense(4)(x)))).groups
