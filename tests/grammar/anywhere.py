"""Steps on vectors, and on tensors of any rank."""

import keras
import numpy as np
from keras import layers, ops

from grammar.core import IMAGE, VECTOR, activation_of, enter, step, use


@step()
def dense(x, s, scene):
    layer = layers.Dense(s.width, activation=activation_of(s), use_bias=not s.bit(0))
    return use(scene, layer, x)


@step(VECTOR)
def unfold(x, s, scene):
    width = x.shape[-1]
    parts = next(g for g in (s.of(2, 3, 4), 2, 3, 1) if width % g == 0)
    return s.of(
        lambda: layers.Reshape((parts, width // parts))(x),
        lambda: layers.RepeatVector(3)(x),
        lambda: layers.Reshape((1, 1, width))(x),
        lambda: ops.expand_dims(x, 1),
        lambda: layers.Reshape((-1, width // parts))(x),
    )()


@step()
def pointwise(x, s, scene):
    width = x.shape[-1]
    shared = list(range(1, len(x.shape) - 1)) or None
    return s.of(
        lambda: layers.BatchNormalization()(x),
        lambda: layers.ReLU()(x),
        lambda: layers.PReLU(shared_axes=shared)(x),
        lambda: layers.PReLU()(x),
        lambda: layers.Activation("sigmoid")(x),
        lambda: layers.Dropout(0.2)(x),
        lambda: ops.tanh(x) + 0.5,
        lambda: 1.0 - x,
        lambda: ops.square(x) * 0.3,
        lambda: ops.maximum(x, 0.1),
        lambda: layers.Softmax()(x),
        lambda: x * np.linspace(0.5, 1.5, width, dtype="float32"),
        lambda: layers.BatchNormalization(scale=False, center=False)(x),
        lambda: ops.where(x > 0, x, 0.2 * x),
        lambda: ops.clip(x, -1.0, 1.0),
    )()


@step()
def normalise(x, s, scene):
    groups = next(g for g in (s.of(2, 3, 4), 2, 3, 1) if x.shape[-1] % g == 0)
    return s.of(
        layers.LayerNormalization(),
        layers.GroupNormalization(groups),
        layers.UnitNormalization(),
        layers.GroupNormalization(-1),
        layers.LayerNormalization(axis=1),
        layers.RMSNormalization(),
        ops.rms_normalization,
    )(x)


@step()
def merge(x, s, scene):
    other = scene.like(x, s.far)
    if other is None:
        return None
    return s.of(
        lambda: layers.Add()([x, other]),
        lambda: layers.Multiply()([other, x]),
        lambda: layers.Maximum()([x, other]),
        lambda: layers.Average()([x, other]),
        lambda: layers.Subtract()([x, other]),
        lambda: layers.Minimum()([other, x]),
        lambda: x + other,
        lambda: ops.maximum(other, x),
        lambda: x * other,
    )()


@step()
def residual(x, s, scene):
    """Bring another tensor to the width of this one and add it."""
    source = scene.pick(s.far, len(x.shape))
    if source.shape[1:-1] != x.shape[1:-1]:
        source = x
    y = layers.Dense(x.shape[-1])(layers.BatchNormalization()(source))
    return layers.Add()([x, y])


@step()
def concatenate(x, s, scene):
    found = [t for t in scene.tensors if len(t.shape) == len(x.shape)]
    axis = -1 if s.choice % 4 or len(x.shape) == VECTOR else 1
    free = axis % len(x.shape)
    found = [
        t
        for t in found
        if all(a == free or t.shape[a] == x.shape[a] for a in range(1, len(x.shape)))
    ]
    others = [found[-1 - (s.far + n) % len(found)] for n in range(1 + s.bit(4))]
    return layers.Concatenate(axis=axis)([x, *others])


@step()
def split(x, s, scene):
    width = x.shape[-1]
    if width < 2:
        return None
    cut = 1 + s.width % (width - 1)
    parts = next(g for g in (s.of(2, 3), 2, 3, 1) if width % g == 0)
    return s.of(
        lambda: ops.split(x, parts, axis=-1),
        lambda: ops.split(x, [cut], axis=-1),
        lambda: x[..., :cut],
        lambda: x[..., cut:],
        lambda: x[..., 1:-1] if width > 2 else None,
        lambda: x[..., ::2],
        lambda: x[..., ::-1],
        lambda: [x[..., :cut], x[..., cut:]],
        lambda: x[..., -1],
    )()


@step()
def rearrange(x, s, scene):
    width = x.shape[-1]
    rank = len(x.shape)
    zeros = [[0, 0]] * (rank - 1)
    return s.of(
        lambda: ops.flip(x, axis=-1),
        lambda: ops.roll(x, s.width % width, axis=-1),
        lambda: ops.pad(x, [*zeros, [1, 2]]),
        lambda: ops.pad(x, [*zeros, [1, 0]], constant_values=1.0),
        lambda: ops.repeat(x, 2, axis=-1) if width < 40 else None,
        lambda: ops.tile(x, [1] * (rank - 1) + [2]) if width < 40 else None,
        lambda: ops.pad(x, [*zeros, [1, 1]], mode="reflect") if width > 1 else None,
        lambda: ops.take(x, list(range(0, width, 2)), axis=-1),
        lambda: ops.swapaxes(x, 1, -1),
        lambda: ops.squeeze(x, 1) if rank > 2 and x.shape[1] == 1 else None,
        lambda: ops.roll(x, 1, axis=1) if rank > 2 else None,
        lambda: ops.pad(x, [[0, 0], [1, 0], *zeros[1:]]) if rank > 2 else None,
    )()


@step()
def stack(x, s, scene):
    other = scene.like(x, s.far)
    if len(x.shape) == IMAGE or other is None or other.shape != x.shape:
        return None
    return ops.stack([x, other], axis=s.of(1, -1))


@step()
def taken(x, s, scene):
    width = x.shape[-1]
    return s.of(
        lambda: ops.take(x, [(7 * n + s.width) % width for n in range(1 + width // 2)], axis=-1),
        lambda: ops.take(x, [0, -1], axis=1),
        lambda: ops.unstack(x, axis=1)[:3] if len(x.shape) > 2 else None,
        lambda: ops.cumsum(x, axis=1),
        lambda: ops.sort(x, axis=s.of(1, -1)),
        lambda: ops.log_softmax(x, axis=1),
        lambda: ops.std(x, axis=-1, keepdims=True),
    )()


@step()
def gated(x, s, scene):
    """A gated feed-forward network, from two layers or from the halves of one."""
    if s.bit(0):
        value, gate = layers.Dense(s.width)(x), layers.Dense(s.width)(x)
    else:
        value, gate = ops.split(layers.Dense(2 * s.width)(x), 2, axis=-1)
    y = layers.Dense(x.shape[-1])(value * (ops.silu(gate) if s.bit(1) else ops.sigmoid(gate)))
    return layers.Add()([x, y]) if s.bit(2) else y


@step(VECTOR)
def compared(x, s, scene):
    """Products and distances of vectors, which sum over their units."""
    name = activation_of(s)
    other = layers.Dense(x.shape[-1], activation=name)(scene.pick(s.far, VECTOR))
    x = layers.Dense(x.shape[-1], activation=name)(x) if s.bit(3) else x
    return s.of(
        lambda: layers.Dot(axes=-1)([x, other]),
        lambda: layers.Dot(axes=-1, normalize=True)([x, other]),
        lambda: ops.norm(x - other, axis=-1, keepdims=True),
        lambda: ops.sum(ops.square(x - other), axis=-1, keepdims=True),
        lambda: ops.matmul(ops.expand_dims(x, 1), ops.expand_dims(other, 2))[:, 0],
        lambda: ops.einsum("bi,bi->b", x, other)[:, None],
    )()


@step()
def reduce(x, s, scene):
    way = s.of(ops.mean, ops.sum, ops.max, ops.min, ops.var, ops.logsumexp)
    if s.bit(2) and len(x.shape) > 2:
        return way(x, axis=1)
    return way(x, axis=-1, keepdims=True)


@step(name="input")
def _another_input(x, s, scene):
    if len(scene.inputs) > 2:
        return
    if s.bit(0):
        enter(scene, len(x.shape), 1 + s.choice % 5)
        return
    scene.inputs.append(keras.Input((2 + s.choice % 2,), dtype="int32"))
    made = layers.Embedding(8, s.width, mask_zero=s.bit(2))(scene.inputs[-1])
    scene.tensors.append(layers.Flatten()(made) if s.bit(1) else made)


@step()
def again(x, s, scene):
    """Use a layer a second time, on a tensor of the shape that it was made for."""
    if not scene.used:
        return None
    layer, first = scene.used[-1 - s.far % len(scene.used)]
    fits = [t for t in scene.tensors if t.shape[-1] == first.shape[-1] and t is not first]
    fits = [t for t in fits if len(t.shape) == len(first.shape)]
    if isinstance(layer, keras.Model):
        fits = [t for t in fits if t.shape == first.shape]
    return layer(fits[-1 - s.near % len(fits)]) if fits else None
