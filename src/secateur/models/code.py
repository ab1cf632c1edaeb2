"""Refuse code that a model file carries or asks for, before anything of the file is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import keras

from secateur.errors import ModelError
from secateur.models.legacy import RENAMED_CLASSES, UNREAD

# Packages that Keras itself looks classes up in.
_TRUSTED = ("keras", "keras_hub", "keras_cv", "keras_nlp", "tf_keras", "tensorflow")
_ROOMS = (keras.layers, keras.initializers, keras.regularizers, keras.constraints)
_OLDER = {*RENAMED_CLASSES, "Functional", "Sequential", "Policy", "PolicyV1", "ListWrapper"}
_OLDER |= {"TensorShape", "L1L2"}
# The operations that tf.keras laid into a graph: what they do stands in TensorFlow alone.
_OF_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
# Layers of Keras that run what lies in the file, or in another one, whatever the safe mode is.
_FOREIGN = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_ACTIVATIONS = ("activation", "recurrent_activation")
_GONE = {
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU(reset_after=True)",
    "ThresholdedReLU": "ReLU(threshold=...)",
    "LocallyConnected1D": None,
    "LocallyConnected2D": None,
}


def layer_names() -> frozenset[str]:
    """Return the names of the layers that Keras has."""
    return frozenset(name for name in dir(keras.layers) if name[:1].isupper())


def check_code(config: dict[str, Any], own: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Refuse layers that carry programs, and classes that neither Keras nor the caller has.

    Args:
        config: the architecture.
        own: classes and functions of the caller's, by their name in the file; a function for a
            Lambda layer by the layer's name.
        where: the file.

    Returns:
        A new config, in which a Lambda layer that the caller gives a function for names it.

    Raises:
        ModelError: names the first layer that needs code, and how to give it.
    """
    return _Checker(own, where).value(config, "the model")


def _named_function(name: str) -> dict[str, Any]:
    """Write a function of the caller's as Keras does; legacy configs give the name alone."""
    about = {"class_name": "function", "config": name}
    return about | {"module": "builtins", "registered_name": name}


class _Checker:
    def __init__(self, own: Mapping[str, Any], where: Path):
        self._own = own
        self._where = where

    def value(self, value: Any, layer: str) -> Any:
        if isinstance(value, list):
            return [self.value(each, layer) for each in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("class_name")
        if isinstance(kind, str) and "config" in value:
            inside = value["config"]
            if isinstance(inside, dict) and isinstance(inside.get("name"), str):
                layer = inside["name"]
            if kind == "Lambda" and kind not in self._own:
                return self._lambda(value, layer)
            self._object(kind, value, layer)
        return {key: self._entry(key, each, layer) for key, each in value.items()}

    def _entry(self, key: str, value: Any, layer: str) -> Any:
        if key in UNREAD:
            return value
        if key in _ACTIVATIONS and isinstance(value, str):
            return self._activation(value, layer)
        return self.value(value, layer)

    def _activation(self, name: str, layer: str) -> Any:
        if self._knows(name):
            return _named_function(name)
        try:
            keras.activations.get(name)
        except ValueError:
            self._refuse(f"needs the function {name!r}", layer, name, "function")
        return name

    def _object(self, kind: str, value: dict[str, Any], layer: str) -> None:
        if kind == "__lambda__":
            self._refuse_lambda(layer)
        if kind in _FOREIGN and kind not in self._own:
            self._refuse_foreign(kind, layer)
        if kind.startswith("__"):
            return
        name = value["config"] if kind == "function" else value.get("registered_name") or kind
        if kind in self._own or self._knows(str(name)):
            return
        module = value.get("module")
        if isinstance(module, str) and module.split(".")[0] in _TRUSTED:
            return
        if kind == "function":
            if not hasattr(keras.activations, str(name)) and not hasattr(keras.ops, str(name)):
                self._refuse(f"needs the function {name!r}", layer, str(name), "function")
        elif module or not (kind in _OLDER or any(hasattr(room, kind) for room in _ROOMS)):
            if kind in _OF_TENSORFLOW:
                self._refuse_operation(kind, layer)
            if kind in _GONE:
                self._refuse_gone(kind, layer)
            self._refuse(f"is a {kind}", layer, str(name), "class")

    def _knows(self, name: str) -> bool:
        return name in self._own or keras.saving.get_registered_object(name) is not None

    def _lambda(self, value: dict[str, Any], layer: str) -> dict[str, Any]:
        """Let a Lambda layer name a function of the caller's instead of carrying one."""
        config = value["config"] if isinstance(value["config"], dict) else {}
        function = config.get("function")
        if isinstance(function, dict) and function.get("class_name") == "function":
            function = function.get("config")
        name = next(
            (each for each in (layer, function) if isinstance(each, str) and self._knows(each)),
            None,
        )
        if name is None:
            self._refuse_lambda(layer)
        kept = {key: config[key] for key in ("name", "trainable", "dtype") if key in config}
        kept["arguments"] = self.value(config.get("arguments") or {}, layer)
        kept["function"] = _named_function(name)
        return {**value, "config": kept}

    def _refuse_lambda(self, layer: str) -> NoReturn:
        raise ModelError(
            f"layer {layer!r} is a Lambda layer: Python code, which is not run from a file.",
            where=self._where,
            mend="In Python, give the function by the layer's name: "
            f"secateur.load(path, custom_objects={{{layer!r}: function}}).",
        )

    def _refuse_foreign(self, kind: str, layer: str) -> NoReturn:
        raise ModelError(
            f"layer {layer!r} is a {kind}: a program of another library, which is not run from a "
            "file.",
            where=self._where,
            mend="Build that part from layers of Keras and save the model again, or give a layer "
            "class for it as custom_objects=.",
        )

    def _refuse(self, what: str, layer: str, name: str, kind: str) -> NoReturn:
        raise ModelError(
            f"layer {layer!r} {what}, a {kind} that Keras does not have.",
            where=self._where,
            mend="Name the module that registers it: secateur --import MODULE ..., or in Python "
            "give it: secateur.load(path, custom_objects="
            f"{{{name!r}: {'function' if kind == 'function' else 'Class'}}}).",
        )

    def _refuse_operation(self, kind: str, layer: str) -> NoReturn:
        raise ModelError(
            f"layer {layer!r} is a {kind}: an operation of TensorFlow that Keras 3 does not have.",
            where=self._where,
            mend="Build the model with keras.ops or a layer in its place, load the weights, and "
            "save it; or give a layer class for it as custom_objects=.",
        )

    def _refuse_gone(self, kind: str, layer: str) -> NoReturn:
        other = _GONE[kind]
        raise ModelError(
            f"layer {layer!r} is a {kind}, a layer that Keras 3 does not have.",
            where=self._where,
            mend=(f"Build the model with {other} in its place and save it" if other else "Build it")
            + ", or give a layer class for it as custom_objects=.",
        )
