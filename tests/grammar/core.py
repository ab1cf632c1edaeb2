"""Programs, and how a model is built from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

WIDEST = 80
STEPS: dict[str, Callable[..., Any]] = {"nest": lambda scene, s: None}
IMAGE, SEQUENCE, VECTOR = 4, 3, 2


@dataclass(frozen=True)
class Step:
    """One step: which operation, on which tensors (counted from the latest), how wide, and how."""

    name: str
    near: int = 0
    far: int = 1
    width: int = 6
    choice: int = 0

    def of(self, *options: Any) -> Any:
        """Choose one of several options."""
        return options[self.choice % len(options)]

    def bit(self, place: int) -> bool:
        """Return one of several independent yes-or-no choices."""
        return bool(self.choice >> place & 1)


@dataclass
class Scene:
    """The tensors and layers that there are while a model is built."""

    tensors: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    used: list[tuple[Any, Any]] = field(default_factory=list)

    def pick(self, back: int, *ranks: int) -> Any:
        """Return one of the latest tensors of some ranks."""
        found = [t for t in self.tensors if not ranks or len(t.shape) in ranks]
        return found[-1 - back % len(found)] if found else None

    def like(self, tensor: Any, back: int) -> Any:
        """Return a tensor that broadcasts with another, or `None`."""
        found = [t for t in self.tensors if t is not tensor and broadcast(t, tensor)]
        return found[-1 - back % len(found)] if found else None


def step(*ranks: int, name: str | None = None) -> Callable[..., Any]:
    """Register a step on a tensor of some ranks: a function `(x, step, scene) -> tensor`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(scene: Scene, s: Step) -> Any:
            x = scene.pick(s.near, *ranks)
            return None if x is None else function(x, s, scene)

        STEPS[name or function.__name__.strip("_")] = run
        return function

    return decorate


def programs(most: int = 9) -> st.SearchStrategy[tuple[Step, ...]]:
    """Return a strategy for programs."""
    steps = st.builds(
        Step,
        st.sampled_from(list(STEPS)),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(1, 13),
        st.integers(0, 63),
    )
    return st.lists(steps, min_size=3, max_size=most).map(tuple)


def build(program: tuple[Step, ...], kind: int = IMAGE, heads: int = 0, seed: int = 0) -> Any:
    """Build the model of a program.

    Args:
        program: the steps.
        kind: the rank of the first input.
        heads: how many outputs there are beside the last, and of what form they are.
        seed: of the weights.
    """
    keras.utils.clear_session(free_memory=False)
    scene = Scene()
    enter(scene, kind)
    rest = list(program)
    while rest:
        advance(scene, rest)
    model = keras.Model(
        scene.inputs if len(scene.inputs) > 1 else scene.inputs[0], _outputs(scene, heads)
    )
    randomise(model, seed)
    return model


def advance(scene: Scene, rest: list[Step]) -> None:
    """Take the next step off a list and carry it out."""
    s = rest.pop(0)
    if s.name == "nest":
        made = _nest(scene, s, [rest.pop(0) for _ in range(min(len(rest), 1 + s.choice % 3))])
    else:
        try:
            made = STEPS[s.name](scene, s)
        except ValueError:  # Keras refuses the combination (a kernel larger than the image).
            made = None
    for tensor in made if isinstance(made, (list, tuple)) else [made]:
        if tensor is None or len(tensor.shape) < 2:
            continue
        if None not in tensor.shape[1:] and max(tensor.shape[1:]) < WIDEST:
            scene.tensors.append(tensor)


def randomise(model: Any, seed: int = 0) -> None:
    """Give weights that leave no unit like another and signals that neither die nor explode."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if not np.issubdtype(np.dtype(weight.dtype), np.floating):
            continue
        fan = max(int(np.prod(weight.shape[:-1])), 1) if len(weight.shape) > 1 else 4
        value = rng.normal(0, 1 / np.sqrt(fan), weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)


def enter(scene: Scene, kind: int, width: int = 3) -> Any:
    shape = {IMAGE: (6, 6, width), SEQUENCE: (5, width), VECTOR: (width + 4,)}[kind]
    scene.inputs.append(keras.Input(shape))
    stem = {IMAGE: layers.Conv2D(width + 4, 2), SEQUENCE: layers.Conv1D(width + 2, 2)}
    scene.tensors += [scene.inputs[-1], stem.get(kind, layers.Dense(width + 5))(scene.inputs[-1])]


def _outputs(scene: Scene, heads: int) -> list[Any]:
    made = []
    for back in range(1 + heads % 3):
        x = scene.pick(back)
        if heads & 4 and back:
            x = layers.Identity()(x)
        else:
            x = layers.Dense(5, "tanh")(_pooled(x, heads // 8))
            x = layers.Dense(3)(x)
        made.append(x)
    return made if len(made) > 1 else made[0]


def _pooled(x: Any, way: int = 0) -> Any:
    if len(x.shape) == IMAGE and way % 2:
        return layers.GlobalAveragePooling2D()(x)
    return layers.Flatten()(x) if len(x.shape) > 2 else x


def broadcast(one: Any, other: Any) -> bool:
    return len(one.shape) == len(other.shape) and all(
        a == b or a == 1 or b == 1 for a, b in zip(one.shape[1:], other.shape[1:], strict=True)
    )


def activation_of(s: Step) -> str | None:
    return (None, "relu", "sigmoid", "tanh", "gelu", "softmax")[s.width * 7 % 6]


def use(scene: Scene, layer: Any, x: Any) -> Any:
    scene.used.append((layer, x))
    return layer(x)


def _nest(scene: Scene, s: Step, steps: list[Step]) -> Any:
    """Wrap the next steps into a model of their own and call it, perhaps twice."""
    x = scene.pick(s.near)
    inner = Scene()
    inner.inputs.append(keras.Input(x.shape[1:]))
    inner.tensors.append(inner.inputs[0])
    for each in steps:
        if each.name not in ("input", "nest"):
            advance(inner, [each])
    if len(inner.tensors) == 1:
        return None
    block = keras.Model(inner.inputs[0], inner.tensors[-1])
    scene.used.append((block, x))
    others = [t for t in scene.tensors if t.shape == x.shape and t is not x]
    if others and s.choice & 8:
        return [block(x), block(others[-1 - s.far % len(others)])]
    return block(x)
