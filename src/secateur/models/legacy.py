"""Mend the architecture of a model that an older Keras wrote, as JSON and by rules that are data.

All functions here take JSON values and return new ones; nothing is built and nothing is run. An
entry is left out only where its value changes nothing; any other value is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from secateur.errors import ModelError

_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
_WRAPPERS = ("Bidirectional", "TimeDistributed")
_INITIALIZERS = (
    *("Zeros", "Ones", "Constant", "Identity", "Orthogonal", "VarianceScaling"),
    *("RandomNormal", "RandomUniform", "TruncatedNormal"),
    *("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform"),
)


@dataclass(frozen=True)
class Drop:
    """Leave an entry out that this Keras does not know.

    Args:
        classes: whose config carries it.
        key: the entry.
        harmless: the values that change nothing; `None`: no value does.
    """

    classes: Collection[str]
    key: str
    harmless: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Rename:
    """Give an entry the name that this Keras knows it by."""

    classes: Collection[str]
    key: str
    to: str


@dataclass(frozen=True)
class Default:
    """Write down what was meant where an entry was left out: the default has changed since."""

    classes: Collection[str]
    key: str
    value: Any


@dataclass(frozen=True)
class Convert:
    """Write a value in the form that this Keras reads."""

    classes: Collection[str]
    key: str
    into: Callable[[Any], Any]


def _single(value: Any) -> Any:
    """Take the one number out of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


Rule = Drop | Rename | Default | Convert

RULES: tuple[Rule, ...] = (
    Drop(_DEPTHWISE, "groups", (1, None)),
    Drop(_TRANSPOSED, "groups", (1, None)),
    Drop(_DEPTHWISE, "kernel_initializer"),
    Drop(_DEPTHWISE, "kernel_regularizer"),
    Drop(_DEPTHWISE, "kernel_constraint", (None,)),
    Drop(_RECURRENT, "time_major", (False, None)),
    Drop(_RECURRENT, "implementation"),
    Drop(_RECURRENT, "input_dim"),
    Drop(_RECURRENT, "input_length"),
    Drop(_CELLS, "implementation"),
    Drop(("Bidirectional",), "time_major", (False, None)),
    Default(("GRU", "GRUCell"), "reset_after", False),
    Convert(("BatchNormalization", "LayerNormalization"), "axis", _single),
    Drop(("BatchNormalization",), "fused"),
    Drop(("BatchNormalization",), "virtual_batch_size"),
    Drop(("BatchNormalization",), "adjustment", (None,)),
    Drop(("Embedding",), "input_length"),
    Drop(("Attention", "AdditiveAttention"), "causal", (False, None)),
    Drop(("MultiHeadAttention",), "query_shape"),
    Drop(("MultiHeadAttention",), "key_shape"),
    Drop(("MultiHeadAttention",), "value_shape"),
    Rename(("LeakyReLU",), "alpha", "negative_slope"),
    Drop(_INITIALIZERS, "dtype"),
    Drop(_INITIALIZERS, "partition_info"),
    Drop(("Constant",), "verify_shape"),
)

# Their config is another's in all but the name.
RENAMED_CLASSES = {"Model": "Functional", "BatchNormalizationV1": "BatchNormalization"}

_MODELS = {"Sequential": "keras", "Functional": "keras.src.models.functional"}
# Where classes stood that this Keras has elsewhere; `keras.src.ops` still holds operations.
_MOVED = (
    *("keras.engine.", "keras.src.engine.", "keras.layers.", "keras.src.layers."),
    *("keras.models", "tensorflow.", "tf_keras"),
)
_WRITTEN_OUT = ("__tuple__", "TensorShape", "ListWrapper")
_POLICIES = ("Policy", "PolicyV1")
_LAYER_KEYS = ("layer", "backward_layer", "cell")
_LAYER_LISTS = ("layers", "cells")
_ENDS = ("input_layers", "output_layers")
# Losses, optimizers and shapes: nothing of them is loaded.
UNREAD = ("compile_config", "build_config", "training_config")


@dataclass
class _Notebook:
    """What was mended, in the order of finding, and in which layers."""

    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, deed: str, kind: str, name: str) -> None:
        self.found.setdefault((deed, kind), []).append(name)

    def lines(self) -> tuple[str, ...]:
        return tuple(
            deed.replace("{kind}", kind if len(names) == 1 else f"{len(names)} {kind}")
            + (f" ({', '.join(dict.fromkeys(names[:3]))}{', ...' if len(names) > 3 else ''})")
            for (deed, kind), names in self.found.items()
        )


def mend(
    config: dict[str, Any],
    *,
    known: Collection[str],
    own: Collection[str] = (),
    older: bool = True,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write an architecture in the form that this Keras reads.

    Args:
        config: what an older Keras wrote, any model or layer.
        known: the names of this Keras's layers.
        own: names that the user gives classes and functions for; theirs are left as they are.
        older: a Keras before 3 wrote it, which put a single input or output into a list.

    Returns:
        A new config, and a line for every kind of entry that was mended, none where the config
        says all as it is.

    Raises:
        ModelError: a layer carries an entry that this Keras has no counterpart for.
    """
    notes = _Notebook()
    mended = _Mender(frozenset(known), frozenset(own), older, notes).layer(config)
    return mended, notes.lines()


@dataclass(frozen=True)
class _Mender:
    known: frozenset[str]
    own: frozenset[str]
    older: bool
    notes: _Notebook

    def layer(self, given: Any, names: tuple[str, ...] = ()) -> Any:
        """Mend a layer or model, with what it holds; `names` are the layers around it."""
        if not isinstance(given, dict) or "class_name" not in given:
            return self.value(given, names)
        kind = str(given["class_name"])
        if kind in self.own or given.get("registered_name") in self.own:
            return given | {"config": _without_shape(given.get("config"))}
        if kind in RENAMED_CLASSES and not given.get("module"):
            kind = RENAMED_CLASSES[kind]
        entry = {key: value for key, value in given.items() if key != "config"}
        config = given.get("config")
        if kind == "Sequential" and isinstance(config, list):
            # Keras wrote it so before 2.2.3.
            config = {"name": "sequential", "layers": config}
            self.notes.add("a {kind} written as a list of layers", kind, "sequential")
        if not isinstance(config, dict):
            return given
        name = str(config.get("name") or given.get("name") or kind)
        if kind == "Sequential":
            config = self._with_input(config)
        entry["class_name"] = kind
        entry["config"] = self._entries(kind, config, name, names)
        module = str(entry.get("module") or "")
        if (kind in self.known or kind in _MODELS) and (not module or module.startswith(_MOVED)):
            entry["module"] = _MODELS.get(kind, "keras.layers")
            entry["registered_name"] = None
            if module:
                self.notes.add(f"{module} is now {entry['module']} for {{kind}}", kind, name)
        return entry

    def _entries(
        self, kind: str, config: dict[str, Any], name: str, names: tuple[str, ...]
    ) -> dict[str, Any]:
        path = (*names, name)
        mended: dict[str, Any] = {}
        for key, value in self._ruled(kind, config, "/".join(path)).items():
            if key in UNREAD:
                mended[key] = value
            elif self.older and key in _ENDS and isinstance(value, list) and len(value) == 1:
                mended[key] = value[0]
            elif key in _LAYER_KEYS:
                mended[key] = self.layer(value, path)
            elif key in _LAYER_LISTS and isinstance(value, list):
                mended[key] = [self.layer(each, path[1:]) for each in value]
            elif isinstance(value, dict) and value.get("class_name") in _POLICIES:
                mended[key] = value["config"]["name"]
                self.notes.add("a dtype policy in an older form in {kind}", kind, name)
            else:
                mended[key] = self.value(value, path)
        return mended

    def value(self, value: Any, names: tuple[str, ...]) -> Any:
        """Mend what stands in a config: initializers, shapes, and lists and dicts of them."""
        if isinstance(value, list):
            return [self.value(each, names) for each in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("class_name")
        if kind in _WRITTEN_OUT and "items" in value:
            return self.value(value["items"], names)
        mended = {
            key: each if key in UNREAD else self.value(each, names) for key, each in value.items()
        }
        if isinstance(kind, str) and kind not in self.own and isinstance(value.get("config"), dict):
            mended["config"] = self._ruled(kind, mended["config"], "/".join(names))
        return mended

    def _ruled(self, kind: str, config: dict[str, Any], name: str) -> dict[str, Any]:
        """Follow every rule for a class."""
        config = dict(config if kind == "InputLayer" else _without_shape(config))
        for rule in RULES:
            if kind not in rule.classes:
                continue
            present = rule.key in config
            if isinstance(rule, Default):
                if not present:
                    config[rule.key] = rule.value
                    self.notes.add(f"{rule.key}={rule.value} written down in {{kind}}", kind, name)
            elif not present:
                continue
            elif isinstance(rule, Drop):
                value = config.pop(rule.key)
                if rule.harmless is not None and value not in rule.harmless:
                    raise ModelError(
                        f"the {kind} carries {rule.key}={value!r}, which this Keras cannot do.",
                        where=name,
                        mend="Load the model with the Keras that wrote it, build the layer "
                        "without it, and save the model again.",
                    )
                self.notes.add(f"left out {rule.key} of {{kind}}", kind, name)
            elif isinstance(rule, Rename):
                config[rule.to] = config.pop(rule.key)
                self.notes.add(f"{rule.key} is now {rule.to} in {{kind}}", kind, name)
            elif (new := rule.into(config[rule.key])) != config[rule.key]:
                config[rule.key] = new
                self.notes.add(f"{rule.key} written as a number in {{kind}}", kind, name)
        return config

    def _with_input(self, config: dict[str, Any]) -> dict[str, Any]:
        """Put an InputLayer before the first layer that says its own input shape."""
        layers = config.get("layers")
        if not isinstance(layers, list) or not layers or not isinstance(layers[0], dict):
            return config
        first: dict[str, Any] = layers[0]
        shape = next(_shapes(first), None)
        if shape is None or first.get("class_name") == "InputLayer":
            return config
        name, dtype = str(first["config"].get("name", "layer")), first["config"].get("dtype")
        plain = isinstance(dtype, str) and not dtype.startswith("mixed_")
        entry = {
            "class_name": "InputLayer",
            "config": {"batch_shape": shape, "dtype": dtype if plain else "float32"},
        }
        entry["config"]["name"] = f"{name}_input"
        self.notes.add(f"an InputLayer of {shape} put before {{kind}}", "layer", name)
        return config | {"layers": [entry, *layers]}


def _without_shape(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if key != "batch_input_shape"}


def _shapes(layer: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield the input shapes, batch axis included, that a first layer carries, the best first."""
    config = layer.get("config")
    if not isinstance(config, dict):
        return
    shape = config.get("batch_input_shape")
    if isinstance(shape, dict):
        shape = shape.get("items")
    if isinstance(shape, list):
        yield shape
    inner = config.get("layer")
    if layer.get("class_name") == "Bidirectional" and isinstance(inner, dict):
        yield from _shapes(inner)
