import keras
import numpy as np

from secateur.formats.fake import FixedQuantizer
from secateur.formats.grids import Grid, Quantization
from secateur.graph.weights import to_numpy
from secateur.steps.quantizers import LearnedQuantizer, QuantizedKernel, start


def gradient(layer, x, place=None):
    """Return the gradient of the sum of a layer's outputs by x, or by a variable of the layer."""
    x = keras.ops.convert_to_tensor(np.array(x, "float32"))
    if keras.backend.backend() == "jax":
        import jax

        def total(values, x):
            return keras.ops.sum(layer.stateless_call(values, [], x)[0])

        if not layer.built:
            layer.build(x.shape)
        values = [each.value for each in layer.trainable_variables]
        if place is None:
            return to_numpy(jax.grad(total, argnums=1)(values, x))
        return to_numpy(jax.grad(total)(values, x)[place])
    if keras.backend.backend() == "torch":
        keras.ops.sum(layer(x.requires_grad_())).backward()
        return to_numpy((x if place is None else layer.trainable_variables[place].value).grad)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        total = keras.ops.sum(layer(x))
    return to_numpy(
        tape.gradient(total, x if place is None else layer.trainable_variables[place].value)
    )


def test_a_grid_rounds_half_to_even_and_clips():
    grid = Grid(signed=False, scale=(0.5,), zero=(2,))
    values = np.array([-9.0, -1.0, 0.0, 0.24, 0.25, 0.75, 1e3], np.float32)
    expected = [-1, -1, 0, 0, 0, 1, 126.5]
    np.testing.assert_array_equal(grid.rounded(values), expected)
    np.testing.assert_array_equal(to_numpy(FixedQuantizer(grid)(values)), expected)


def test_zero_and_what_is_on_the_grid_stay():
    for low, high in ((-1.3, 2.7), (0.0, 5.1), (-4.0, -1.0), (0.0, 0.0)):
        grid = Grid.between(low, high)
        values = np.linspace(low, high, 999, dtype=np.float32)
        once = grid.rounded(values)
        np.testing.assert_array_equal(grid.rounded(once), once)
        assert grid.rounded(np.zeros(1, np.float32)) == 0
        assert np.abs(once - values).max() <= grid.scale[0] * 0.501 + 1e-7


def test_a_symmetric_grid_has_a_step_a_channel():
    weight = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    weight *= np.array([1, 10, 100, 0, 1], np.float32)
    grid = Grid.symmetric(np.abs(weight).max(axis=(0, 1, 2)), (3,))
    assert len(grid.scale) == 5
    assert np.abs(grid.codes(weight)).max(axis=(0, 1, 2)).tolist() == [127, 127, 127, 0, 127]
    off = np.abs(grid.rounded(weight) - weight).max(axis=(0, 1, 2))
    assert (off <= np.array(grid.scale) * 0.501).all()


def test_a_quantization_survives_json():
    made = Quantization(
        weights={"a/kernel": Grid.symmetric(np.array([0.1, 0.3]), (1,))},
        activations={"a": Grid.between(-0.1, 3.7)},
        kept={"b": "sensitive"},
    )
    assert Quantization.from_json(made.to_json()) == made


def test_gradients_pass_straight_through_inside_the_range_and_not_outside():
    layer = LearnedQuantizer(Grid(scale=(0.1,)))
    x = [0.04, 0.26, -0.5, 20.0, -20.0]
    assert gradient(layer, x).tolist() == [1, 1, 1, 0, 0]


def test_the_step_has_the_gradient_of_the_paper():
    step, x = 0.1, np.array([0.03, 0.26, 20.0], np.float32)
    layer = LearnedQuantizer(Grid(scale=(step,)))
    layer.build(x.shape)
    inside = np.round(x / step) - x / step
    expected = np.where(np.abs(x / step) < 127, inside, np.sign(x) * 127).sum()
    share = 1 / np.sqrt(len(x) * 127)
    # The step is held by its logarithm, whose gradient is the step's times the step.
    found = gradient(layer, x, 0)
    np.testing.assert_allclose(found, expected * share * step, rtol=1e-4)


def test_the_zero_learns_from_what_is_clipped():
    layer = LearnedQuantizer(Grid(signed=False, scale=(0.1,), zero=(10,)))
    layer.build((None, 3))
    np.testing.assert_allclose(gradient(layer, [[0.3, 99.0, -9.0]], 1), -0.2, 1e-5)


def test_the_start_is_that_of_the_paper():
    values = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    grid = start(values, axes=(1,))
    np.testing.assert_allclose(grid.scale, 2 * np.abs(values).mean(0) / np.sqrt(127), rtol=1e-6)


def test_a_quantized_kernel_is_made_again_from_its_config():
    inner = keras.layers.Dense(3, activation="relu")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    inner.build((None, 4))
    grid = Grid(scale=(0.05,))
    layer = QuantizedKernel(inner, grid, name="q")
    found = to_numpy(layer(x))
    kernel = grid.rounded(to_numpy(inner.kernel))
    np.testing.assert_allclose(found, np.maximum(x @ kernel, 0), atol=1e-6)
    twin = QuantizedKernel.from_config(layer.get_config())
    twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_allclose(to_numpy(twin(x)), found, atol=1e-6)
