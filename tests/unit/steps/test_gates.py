import keras
import numpy as np
import pytest

from secateur.errors import PlanError
from secateur.steps.gates import GATES, HardConcrete, Soft, TopK, gates_by

ops = keras.ops


def at(progress):
    return ops.convert_to_tensor(progress, "float32")


def numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def trained(gates, pull, steps=60):
    """Return the logits after some steps up the gradient of `sum(pull * gates)`."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.gates = gates

        def call(self, x, training=False):
            return ops.reshape(self.gates(at(0.0), training=training), (1, -1)) + 0 * x

    model = Model()
    model.compile(
        keras.optimizers.SGD(1.0),
        loss=lambda y, p: -ops.sum(p * ops.convert_to_tensor(pull)),
        jit_compile=False,
    )
    x = np.zeros((steps, len(pull)), "float32")
    model.fit(x, x, batch_size=1, epochs=1, verbose=0)
    return numpy(gates.logits)


@pytest.mark.parametrize("kind", GATES.values())
def test_gates_follow_the_gradient(kind):
    pull = np.array([1.0, -1.0, 1.0, -1.0], "float32")
    logits = trained(kind(np.zeros(4), seed=1), pull)
    assert (logits[[0, 2]] > 1).all()
    assert (logits[[1, 3]] < -1).all()


@pytest.mark.parametrize("kind", GATES.values())
@pytest.mark.parametrize("training", [False, True])
def test_gates_are_from_0_to_1_and_exact_far_away(kind, training):
    values = numpy(kind(np.array([-1e4, -1.0, 0.5, 1e4]))(at(0.5), training=training))
    assert values.shape == (4,)
    assert values.min() == 0
    assert values.max() == 1


def test_hard_concrete_gates_are_open_as_often_as_they_say():
    gates = HardConcrete(np.array([-3.0, -0.5, 0.0, 2.0]), seed=3)
    drawn = np.mean([numpy(gates(at(0.0), training=True)) > 0 for _ in range(3000)], axis=0)
    np.testing.assert_allclose(drawn, numpy(gates.opened(at(0.0))), atol=0.03)


def test_as_many_gates_are_open_as_are_expected_to_be():
    gates = TopK(np.array([-9.0, 0.1, 9.0, 0.3, -0.1, 9.0]))
    assert numpy(gates(at(0.0))).sum() == np.round(numpy(gates.opened(at(0.0))).sum())


def test_soft_gates_become_a_choice():
    gates = Soft(np.array([-1.0, 1.0]))
    early, late = numpy(gates(at(0.0))), numpy(gates(at(1.0)))
    np.testing.assert_allclose(early, [0.269, 0.731], atol=1e-3)
    np.testing.assert_allclose(late, [0, 1], atol=1e-6)


def test_gates_move_faster_than_weights_by_their_speed():
    slow, fast = Soft(np.ones(3)), Soft(np.ones(3), speed=50.0)
    np.testing.assert_allclose(numpy(slow.logits), numpy(fast.logits), rtol=1e-6)
    np.testing.assert_allclose(numpy(fast.raw) * 50, numpy(slow.raw), rtol=1e-6)


def test_there_are_no_other_gates():
    with pytest.raises(PlanError, match="no gates 'iron'"):
        gates_by("iron")
