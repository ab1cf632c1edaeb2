"""Wirings of models for sequences, without attention."""

import keras
from keras import layers

from zoo.core import conv, head, wiring


@wiring
def sequence():
    x = i = keras.Input((16, 4))
    x = layers.MaxPooling1D(2)(layers.Conv1D(16, 3, padding="same", activation="relu")(x))
    x = layers.SpatialDropout1D(0.1)(layers.SeparableConv1D(24, 3, padding="same")(x))
    x = layers.GRU(16, return_sequences=True)(x)
    return keras.Model(i, layers.Dense(3)(layers.LSTM(16)(x)))


@wiring
def recurrent():
    x = i = keras.Input((6, 5))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    x, *states = layers.LSTM(16, return_sequences=True, return_state=True)(x)
    x = layers.LSTM(16, return_sequences=True)(x, initial_state=states)
    x = layers.Bidirectional(layers.GRU(12), merge_mode="sum")(x)
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def time_distributed():
    x = i = keras.Input((4, 8, 8, 3))
    x = layers.TimeDistributed(layers.Conv2D(16, 3, activation="relu"))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.SimpleRNN(16)(layers.TimeDistributed(layers.Dense(12, "relu"))(x))
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def convolutional_lstm():
    x = i = keras.Input((4, 6, 6, 2))
    x = layers.ConvLSTM2D(12, 3, return_sequences=True, padding="same")(x)
    return keras.Model(i, head(layers.ConvLSTM2D(8, 3)(x)))


@wiring
def masked_tokens():
    x = i = keras.Input((8,), dtype="int32")
    x = layers.Embedding(10, 12, mask_zero=True)(x)
    x = layers.LSTM(16, return_sequences=True)(x)
    return keras.Model(i, layers.Dense(3)(layers.GRU(12)(x)))


@wiring
def masked_steps():
    x = i = keras.Input((6, 4))
    x = layers.LSTM(16, return_sequences=True)(layers.Masking(0.0)(x))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Dense(12)(x))))


@wiring
def temporal_convolution():
    x = i = keras.Input((16, 3))
    x = layers.Conv1D(16, 1)(x)
    for dilation in (1, 2, 4):
        y = layers.Conv1D(24, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = layers.SpatialDropout1D(0.1)(layers.Conv1D(16, 3, padding="causal")(y))
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(i, layers.Dense(3)(x[:, -1]))


@wiring
def wavenet():
    x = i = keras.Input((16, 2))
    x = layers.Conv1D(16, 2, padding="causal")(x)
    skips = []
    for dilation in (1, 2):
        options = {"padding": "causal", "dilation_rate": dilation}
        filtered = layers.Conv1D(24, 2, activation="tanh", **options)(x)
        gate = layers.Conv1D(24, 2, activation="sigmoid", **options)(x)
        y = layers.Multiply()([filtered, gate])
        skips.append(layers.Conv1D(20, 1)(y))
        x = layers.Add()([x, layers.Conv1D(16, 1)(y)])
    x = layers.ReLU()(layers.Add()(skips))
    return keras.Model(i, layers.Conv1D(4, 1)(layers.Conv1D(16, 1, activation="relu")(x)))


@wiring
def sequence_autoencoder():
    x = i = keras.Input((6, 4))
    x = layers.RepeatVector(6)(layers.GRU(12)(x))
    x = layers.GRU(16, return_sequences=True)(x)
    return keras.Model(i, layers.TimeDistributed(layers.Dense(4))(x))


@wiring
def bidirectional_stack():
    x = i = keras.Input((6, 5))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(8, return_sequences=True))(layers.Dropout(0.1)(x))
    return keras.Model(i, layers.Dense(2)(layers.Bidirectional(layers.SimpleRNN(8))(x)))


@wiring
def recurrent_cells():
    x = i = keras.Input((6, 5))
    x = layers.RNN(layers.LSTMCell(16), return_sequences=True)(layers.Dense(12)(x))
    x = layers.RNN(layers.GRUCell(12))(x)
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def stacked_cells():
    x = i = keras.Input((6, 5))
    cells = layers.StackedRNNCells([layers.GRUCell(8), layers.GRUCell(12)])
    x = layers.RNN(cells)(layers.Dense(16, "relu")(layers.Dense(64, "relu")(x)))
    return keras.Model(i, layers.Dense(2)(layers.Dense(64, "relu")(x)))


@wiring
def encoder_and_decoder():
    source, target = keras.Input((6, 4)), keras.Input((5, 4))
    _, *states = layers.LSTM(16, return_state=True)(source)
    x = layers.LSTM(16, return_sequences=True)(target, initial_state=states)
    return keras.Model([source, target], layers.Dense(4)(x))


@wiring
def depthwise_in_time():
    x = i = keras.Input((16, 3))
    x = layers.DepthwiseConv1D(3, padding="same")(layers.Conv1D(24, 1)(x))
    x = layers.UpSampling1D(2)(layers.AveragePooling1D(2)(layers.ReLU()(x)))
    x = layers.Cropping1D(1)(layers.ZeroPadding1D(2)(layers.Conv1DTranspose(16, 2, strides=2)(x)))
    return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))


@wiring
def convolutional_and_recurrent():
    x = i = keras.Input((8, 12, 1))
    x = layers.MaxPooling2D((2, 1))(conv(x, 12))
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Dense(16, "relu")(layers.Reshape((12, 48))(x))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    return keras.Model(i, layers.Dense(6, "softmax")(x))
