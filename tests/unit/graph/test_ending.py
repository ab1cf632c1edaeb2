import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.ending import ending
from secateur.graph.observe import loss_for


def nested(units, function):
    """Return a head that is a model of its own."""
    i = keras.Input((4,))
    return keras.Model(i, layers.Activation(function)(layers.Dense(units)(i)), name="head")


def passing():
    """Return a model that only changes the shape."""
    i = keras.Input((3,))
    return keras.Model(i, layers.Reshape((3,))(layers.Flatten()(i)))


ENDS = {
    "in the layer": lambda x: layers.Dense(3, "softmax")(x),
    "as a layer": lambda x: layers.Softmax()(layers.Dense(3)(x)),
    "as an activation": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
    "as an operation": lambda x: keras.ops.softmax(layers.Dense(3)(x)),
    "in a model": lambda x: nested(3, "softmax")(x),
    "in a sequence": lambda x: keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])(x),
    "reshaped": lambda x: layers.Reshape((3,))(layers.Dense(3, "softmax")(x)),
    "cast": lambda x: keras.ops.cast(layers.Dense(3, "softmax")(x), "float32"),
    "before a model that reshapes": lambda x: passing()(layers.Dense(3, "softmax")(x)),
    "linear at last": lambda x: layers.Activation("linear")(layers.Dense(3, "softmax")(x)),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_softmax_is_found_wherever_it_is(end):
    i = keras.Input((4,))
    model = keras.Model(i, ENDS[end](layers.Dense(4)(i)))
    assert ending(model) == "softmax"
    y = np.array([0, 1, 2])
    loss = loss_for(model, y)
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], "float32")
    assert float(loss(y, p)) == pytest.approx(-np.log([0.7, 0.8, 0.4]).mean(), rel=1e-4)


def test_a_sigmoid_is_found_as_well():
    i = keras.Input((4,))
    for end in (layers.Dense(1, "sigmoid"), nested(1, "sigmoid")):
        assert not loss_for(keras.Model(i, end(i)), np.array([0, 1])).from_logits
    assert not loss_for(
        keras.Model(i, keras.ops.sigmoid(layers.Dense(1)(i))), np.array([0])
    ).from_logits


def test_what_a_softmax_only_went_into_are_logits():
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(3)(layers.Softmax()(i)))
    assert ending(model) == ""
    assert loss_for(model, np.array([0])).from_logits
    # A layer that was made last need not be the one that the output comes from.
    inner = layers.Dense(3, name="logits")(i)
    both = keras.Model(i, [inner, layers.Softmax()(inner)])
    assert ending(keras.Model(i, both.outputs[0])) == ""
    assert ending(keras.Model(i, i)) == ""


# The last layer may be a model, which is asked in turn.
@pytest.mark.parametrize(
    "last", [layers.Softmax(), keras.Sequential([layers.Dense(3), layers.Softmax()])]
)
def test_a_model_without_a_graph_is_judged_by_its_last_layer(last):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Dense(3), last

        def call(self, x):
            return self.last(self.first(x))

    model = Own()
    ending(model)  # not built yet, which is no error
    model(np.zeros((1, 4), "float32"))
    assert ending(model) == "softmax"
