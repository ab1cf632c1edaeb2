import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import BudgetError, DataError, RecipeError
from secateur.graph.trace import trace
from secateur.steps.chain import chain
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype("float32")
    return read((x, (x[:, 0] * x[:, 1] > 0).astype("int32")))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = i = keras.Input((8,), name="array")
    x = layers.BatchNormalization()(layers.Dense(32)(x))
    x = layers.Dense(32, "relu")(layers.ReLU()(x))
    return keras.Model(i, layers.Dense(2, "softmax")(x))


def test_a_chain_tells_the_whole_way(model, data):
    result = chain(Prune(macs=0.5, round_to=4), FineTune(epochs=2))(model, data)
    assert [stage.name for stage in result.stages] == ["cut", "healed", "fine-tuned"]
    assert result.stages[-1].model is result.model
    assert result.after.macs <= 0.5 * result.before.macs
    assert result.plan is result.plans[0]
    assert {note.step for note in result.notes} == {"prune", "heal", "finetune"}
    assert [name for name, _ in result.curves] == ["fine-tuned"]


def test_rounds_reach_the_same_budget_step_by_step(model, data):
    result = Prune(macs=0.4, round_to=2, rounds=2, by="l2")(model, data)
    shares = [plan.after["macs"] / plan.before["macs"] for plan in result.plans]
    assert len(shares) == 2
    assert all(share < 0.64 for share in shares)
    assert 0.3 * result.before.macs < result.after.macs <= 0.4 * result.before.macs


def test_the_same_seed_gives_the_same_plan(model, data):
    one, other = (Prune(macs=0.5, round_to=4)(model, data).plan for _ in range(2))
    assert one == other


def test_without_data_weights_decide_and_healing_is_skipped_aloud(model):
    result = Prune(macs=0.5, round_to=4, by="l2")(model)
    assert [stage.name for stage in result.stages] == ["cut"]
    assert any(note.kind == "skipped" and note.step == "heal" for note in result.notes)


def test_gradients_without_data_are_refused(model):
    with pytest.raises(DataError, match="needs data with labels"):
        Prune(macs=0.5)(model)


@pytest.mark.parametrize("options", [{}, {"macs": 0.5, "ratio": 0.5}, {"macs": 1.5}])
def test_a_bad_budget_is_refused(model, data, options):
    with pytest.raises(BudgetError):
        Prune(**options)(model, data)


def test_a_step_that_returns_its_input_is_a_defect(model, data):
    class Idle:
        def __call__(self, model, data=None):
            result = Prune(macs=0.5, by="l2", round_to=4)(model, data)
            return type(result)(model, result.before, result.after)

    with pytest.raises(RuntimeError, match="its own input"):
        chain(Idle())(model, data)


def test_an_empty_chain_is_refused():
    with pytest.raises(RecipeError, match="at least one step"):
        chain()


def test_a_step_is_its_own_recipe():
    steps = chain(Prune(macs=0.5, by="l2"), FineTune(epochs=3))
    assert eval(repr(steps), {"chain": chain, "Prune": Prune, "FineTune": FineTune}) == steps


def test_fine_tuning_needs_data(model):
    with pytest.raises(DataError, match="needs data"):
        FineTune()(model)


def test_an_embedding_and_its_readers_shrink_together():
    i = keras.Input((4,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(9, 8, name="table")(i))
    model = keras.Model(i, layers.Dense(3)(layers.Dense(16, "relu", name="first")(x)))
    result = Prune(ratio=0.5, by="l1", scope="local", round_to=4)(model)
    assert result.model.get_layer("table").embeddings.shape == (9, 4)
    assert result.model.get_layer("first").kernel.shape == (16, 8)
    assert trace(result.model).macs() == result.after.macs
