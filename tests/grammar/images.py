"""Steps on images."""

from keras import layers, ops

from grammar.core import IMAGE, SEQUENCE, activation_of, step, use


@step(IMAGE)
def conv(x, s, scene):
    strides, dilation = s.of((1, 1), (1, 1), (2, 1), (1, 2))
    return use(
        scene,
        layers.Conv2D(
            s.width,
            1 + s.choice % 3,
            strides=strides,
            dilation_rate=dilation,
            padding="same" if s.choice & 4 or x.shape[1] < 4 else "valid",
            use_bias=bool(s.choice & 8),
            activation=activation_of(s),
        ),
        x,
    )


@step(IMAGE, SEQUENCE)
def grouped(x, s, scene):
    groups = next(g for g in (s.of(2, 3, 4, 5), 3, 2, 1) if x.shape[-1] % g == 0)
    kind = layers.Conv2D if len(x.shape) == IMAGE else layers.Conv1D
    width = groups * (1 + s.width % 5)
    return use(scene, kind(width, 1 + s.choice % 3, groups=groups, padding="same"), x)


@step(IMAGE)
def depthwise(x, s, scene):
    layer = layers.DepthwiseConv2D(
        1 + s.choice % 3, depth_multiplier=s.of(1, 2, 1, 3), padding="same", use_bias=s.bit(2)
    )
    return use(scene, layer, x)


@step(IMAGE, SEQUENCE)
def separable(x, s, scene):
    kind = layers.SeparableConv2D if len(x.shape) == IMAGE else layers.SeparableConv1D
    layer = kind(
        s.width, 2, depth_multiplier=s.of(1, 2), padding="same", activation=activation_of(s)
    )
    return use(scene, layer, x)


@step(IMAGE, SEQUENCE)
def transposed(x, s, scene):
    if x.shape[1] > 8:
        return None
    kind = layers.Conv2DTranspose if len(x.shape) == IMAGE else layers.Conv1DTranspose
    return use(scene, kind(s.width, 2, strides=s.of(1, 2), padding=s.of("same", "valid")), x)


@step(IMAGE)
def spatial(x, s, scene):
    if x.shape[1] > 8 or x.shape[2] > 8:
        return layers.MaxPooling2D(2)(x)
    return s.of(
        layers.MaxPooling2D(2, padding="same"),
        layers.AveragePooling2D(2, strides=1),
        layers.ZeroPadding2D((1, 0)),
        layers.Cropping2D(((1, 0), (0, 1))),
        layers.UpSampling2D(2, interpolation=("nearest", "bilinear")[s.width % 2]),
    )(x)


@step(IMAGE)
def globally(x, s, scene):
    return s.of(
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
    )(x)


@step(IMAGE)
def excite(x, s, scene):
    width = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=s.bit(0))(x)
    if s.bit(0):
        y = layers.Conv2D(s.width, 1, activation="relu")(y)
        y = layers.Conv2D(width, 1, activation="sigmoid")(y)
    else:
        y = layers.Dense(width, "sigmoid")(layers.Dense(s.width, "relu")(y))
        y = layers.Reshape((1, 1, width))(y)
    return layers.Multiply()([x, y] if s.bit(1) else [y, x])


@step(IMAGE)
def shuffle(x, s, scene):
    height, width, channels = x.shape[1:]
    groups = next(g for g in (s.of(2, 3, 4), 2, 3, 1) if channels % g == 0)
    inner = (height, width, groups, channels // groups)
    if s.bit(3):
        y = ops.transpose(ops.reshape(x, (-1, *inner)), (0, 1, 2, 4, 3))
        return ops.reshape(y, (-1, height, width, channels))
    return layers.Reshape(x.shape[1:])(layers.Permute((1, 2, 4, 3))(layers.Reshape(inner)(x)))


@step(IMAGE)
def depth_to_space(x, s, scene):
    height, width, channels = x.shape[1:]
    if channels % 4 or height > 6 or width > 6:
        return None
    x = ops.transpose(ops.reshape(x, (-1, height, width, 2, 2, channels // 4)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))


@step(IMAGE)
def tokens(x, s, scene):
    height, width, channels = x.shape[1:]
    if height * width > 64:
        return None
    return s.of(
        lambda: layers.Reshape((height * width, channels))(x),
        lambda: layers.Reshape((-1, channels))(x),
        lambda: ops.reshape(x, (-1, height, width * channels)),
        lambda: ops.mean(x, axis=1),
        lambda: ops.max(x, axis=(1,)),
        lambda: x[:, 0],
    )()


@step(IMAGE)
def permuted(x, s, scene):
    return layers.Permute(s.of((2, 1, 3), (3, 1, 2), (1, 3, 2)))(x)
