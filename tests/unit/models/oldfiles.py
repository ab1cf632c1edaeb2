"""Model files as older Keras wrote them, made with h5py."""

import json

import h5py
import numpy as np

RNG = np.random.default_rng(0)


def entry(kind, /, **config):
    return {"class_name": kind, "config": config}


def write_weights(group, weights):
    """Write weights as Keras 2 laid them out: by layer, the layers in order."""
    group.attrs["layer_names"] = [name.encode() for name in weights]
    for name, arrays in weights.items():
        place = group.create_group(name)
        keys = [f"{name}/w{index}:0" for index in range(len(arrays))]
        place.attrs["weight_names"] = [key.encode() for key in keys]
        for key, array in zip(keys, arrays, strict=True):
            place[key] = array


def write(path, config, weights, version="2.4.0", backend="tensorflow"):
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["backend"] = backend
        file.attrs["model_config"] = json.dumps(config)
        write_weights(file.create_group("model_weights"), weights)
    return path


def sequential(*entries):
    return {"class_name": "Sequential", "config": {"name": "old", "layers": list(entries)}}


def functional(*entries):
    """Lay layers in a row as tf.keras 2 wrote a functional model."""
    rows, before = [], None
    for each in entries:
        name = each["config"]["name"]
        nodes = [] if before is None else [[[before, 0, 0, {}]]]
        rows.append(each | {"name": name, "inbound_nodes": nodes})
        before = name
    first, last = rows[0]["name"], rows[-1]["name"]
    config = {"name": "old", "layers": rows}
    config |= {"input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
    return {"class_name": "Functional", "config": config}


def array(*shape):
    return RNG.normal(size=shape).astype("float32")
