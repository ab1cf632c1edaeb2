"""Steps on sequences."""

from keras import layers, ops

from grammar.core import IMAGE, SEQUENCE, activation_of, step, use


@step(SEQUENCE)
def conv1d(x, s, scene):
    layer = layers.Conv1D(
        s.width,
        1 + s.choice % 3,
        strides=s.of(1, 1, 2),
        padding=s.of("same", "causal"),
        activation=activation_of(s),
    )
    return use(scene, layer, x)


@step(SEQUENCE)
def recurrent(x, s, scene):
    kind = s.of(layers.GRU, layers.LSTM, layers.SimpleRNN)
    if x.shape[1] > 12:
        return None
    layer = kind(s.width, return_sequences=s.bit(2), go_backwards=s.bit(3))
    if s.bit(4):
        mode = ("concat", "sum", "mul", "ave")[s.width % 4]
        layer = layers.Bidirectional(kind(s.width, return_sequences=s.bit(2)), merge_mode=mode)
    return use(scene, layer, x)


@step(SEQUENCE)
def encoder_decoder(x, s, scene):
    if x.shape[1] > 12:
        return None
    y, *states = layers.LSTM(s.width, return_sequences=True, return_state=True)(x)
    z = layers.LSTM(s.width, return_sequences=s.bit(0))(y, initial_state=states)
    return [*states, z] if s.bit(1) else z


@step(SEQUENCE)
def attend(x, s, scene):
    other = scene.pick(s.far, SEQUENCE)
    if x.shape[1] > 32 or other.shape[1] > 32:
        return None
    heads, size = 1 + s.choice % 4, 1 + s.width % 5
    # Keras on TensorFlow adds a bias of shape (n, 1) along the wrong axis where that has length n.
    bias = min(x.shape[1], other.shape[1]) > 2 * heads
    if s.bit(3):
        layer = layers.GroupQueryAttention(size, heads * (1 + s.bit(4)), heads, use_bias=bias)
    elif s.bit(5):
        layer = layers.MultiHeadAttention(heads, size, 1 + s.width % 3, use_bias=bias)
    else:
        layer = layers.MultiHeadAttention(heads, size, output_shape=s.width, use_bias=bias)
    if s.bit(2):
        return layer(x, x)
    return layer(x, other)


@step(SEQUENCE)
def attend_plainly(x, s, scene):
    other = scene.pick(s.far, SEQUENCE)
    if other.shape[-1] != x.shape[-1] or x.shape[1] > 32:
        return None
    return s.of(layers.Attention(), layers.Attention(use_scale=True), layers.AdditiveAttention())(
        [x, other]
    )


@step(SEQUENCE)
def attend_by_hand(x, s, scene):
    if x.shape[1] > 32:
        return None
    heads, size = 1 + s.choice % 3, 1 + s.width % 4
    shape = (-1, x.shape[1], heads, size)
    query, key, value = (ops.reshape(layers.Dense(heads * size)(x), shape) for _ in range(3))
    scale = None if s.bit(2) else 0.4
    y = ops.dot_product_attention(query, key, value, scale=scale)
    return ops.reshape(y, (-1, x.shape[1], heads * size))


@step(SEQUENCE)
def transformer(x, s, scene):
    if x.shape[1] > 32:
        return None
    width = x.shape[-1]
    norm = s.of(layers.LayerNormalization, layers.BatchNormalization, layers.RMSNormalization)
    y = norm()(x)
    attention = layers.MultiHeadAttention(1 + s.width % 3, 1 + s.width % 4, use_bias=False)
    x = layers.Add()([x, attention(y, y)])
    y = layers.Dense(s.width, activation="gelu")(norm()(x))
    return layers.Add()([x, layers.Dense(width)(y)])


@step(SEQUENCE)
def einsum_dense(x, s, scene):
    inner = 1 + s.choice % 4
    if s.bit(2):
        return layers.EinsumDense("...x,xy->...y", s.width, bias_axes="y")(x)
    y = layers.EinsumDense("abc,cde->abde", (x.shape[1], inner, s.width), bias_axes="e")(x)
    if s.bit(3):
        return ops.reshape(y, (-1, x.shape[1], inner * s.width))
    return layers.EinsumDense("abde,def->abf", (x.shape[1], s.width + 1), bias_axes="f")(y)


@step(SEQUENCE)
def products(x, s, scene):
    other = scene.pick(s.far, SEQUENCE)
    if other.shape[1] != x.shape[1] or x.shape[1] > 16:
        return None
    if s.bit(0):
        return ops.einsum("bti,btj->bij", x, other)
    if s.bit(1) and other.shape[-1] == x.shape[-1]:
        # It sums over units, which are not zero behind every activation.
        y = layers.Dense(x.shape[-1], activation=activation_of(s))(other)
        return ops.matmul(x, ops.transpose(y, (0, 2, 1)))
    return ops.matmul(ops.transpose(x, (0, 2, 1)), other)


@step(SEQUENCE)
def along_time(x, s, scene):
    return s.of(
        lambda: layers.GlobalAveragePooling1D()(x),
        lambda: layers.GlobalMaxPooling1D()(x),
        lambda: layers.Flatten()(x),
        lambda: x[:, -1],
        lambda: layers.MaxPooling1D(2, padding="same")(x),
        lambda: layers.ZeroPadding1D(1)(x),
        lambda: layers.UpSampling1D(2)(x) if x.shape[1] < 8 else x[:, ::2],
        lambda: ops.mean(x, axis=1, keepdims=True),
        lambda: layers.Permute((2, 1))(x),
        lambda: ops.flip(x, axis=1),
        lambda: layers.Masking()(x),
    )()


@step(SEQUENCE, IMAGE)
def time_distributed(x, s, scene):
    if len(x.shape) == SEQUENCE:
        inner = s.of(
            layers.Dense(s.width, activation="relu"),
            layers.PReLU(),
            layers.BatchNormalization(),
            layers.Dense(s.width, use_bias=False),
        )
    else:
        inner = s.of(
            layers.Conv1D(s.width, 2, padding="same"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(s.width),
            layers.PReLU(),
            layers.GRU(s.width),
        )
    return use(scene, layers.TimeDistributed(inner), x)
