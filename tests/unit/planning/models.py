"""Small models of which it is known what each unit is worth."""

import keras
import numpy as np
from keras import layers

from secateur.graph.observe import observe
from secateur.graph.trace import trace
from zoo import inputs_of, model_of


def hidden(kernel, reader, *, activation=None, bias=None):
    """Units with a kernel (inputs, units) that another layer reads."""
    kernel, reader = np.asarray(kernel, "float32"), np.asarray(reader, "float32")
    i = keras.Input((len(kernel),))
    x = layers.Dense(kernel.shape[1], activation, name="hidden")(i)
    model = keras.Model(i, layers.Dense(reader.shape[1], name="out", use_bias=False)(x))
    offsets = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
    model.get_layer("hidden").set_weights([kernel, offsets])
    model.get_layer("out").set_weights([reader])
    return model


def group_of(graph, name):
    """Return the group of a graph that has a name."""
    return next(group for group in graph.groups if group.name == name)


def seen(model, x, needs):
    """Trace a model and observe it on inputs."""
    graph = trace(model)
    return graph, observe(graph, x, needs=set(needs))


def of_zoo(name, rows=24):
    """Return a model of the zoo, inputs and labels for it."""
    model = model_of(name)
    return model, inputs_of(model, rows), np.arange(rows) % model.output_shape[-1]
