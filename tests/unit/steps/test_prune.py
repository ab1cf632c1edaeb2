import keras
import numpy as np
import pytest
from keras import layers

from secateur.cost.cost import Latency
from secateur.data.read import read
from secateur.errors import BudgetError, DataError, ModelError, PlanError, RecipeError
from secateur.graph.trace import trace
from secateur.steps import latency, timed
from secateur.steps.chain import chain
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from zoo import writes_files


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
    assert all(share < 0.7 for share in shares)
    assert 0.3 * result.before.macs < result.after.macs <= 0.4 * result.before.macs


def test_rounds_take_no_more_bytes_than_parameters(model):
    left = [
        Prune(**{name: 0.6}, by="l2", round_to=8, rounds=4, heal=False)(model).after.parameters
        for name in ("bytes", "params")
    ]
    assert left[0] == left[1]


def test_rounds_take_no_more_units_than_asked(model):
    once, often = (
        Prune(ratio=0.3, by="l2", round_to=8, rounds=rounds, heal=False)(model).after.parameters
        for rounds in (1, 4)
    )
    assert often == once


def test_a_floor_is_a_share_of_what_there_was_before_all_rounds(model):
    asked = {"params": 0.3, "by": "l2", "round_to": 1, "floor": 0.5, "heal": False}
    for rounds in (1, 3):
        with pytest.raises(BudgetError, match="smallest allowed width"):
            Prune(**asked, rounds=rounds)(model)


def test_epochs_without_a_second_round_are_refused():
    with pytest.raises(PlanError, match="between two rounds"):
        Prune(macs=0.5, epochs=5)
    with pytest.raises(PlanError, match="distill"):
        Prune(macs=0.5, rounds=2, distill=True)


def test_the_same_seed_gives_the_same_plan(model, data):
    one, other = (Prune(macs=0.5, round_to=4)(model, data).plan for _ in range(2))
    assert one == other


def test_chance_follows_the_seed(model):
    one, again, other = (
        Prune(macs=0.5, by="random", round_to=4, seed=seed)(model).plan for seed in (1, 1, 2)
    )
    assert one == again
    assert one.cuts != other.cuts


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"macs": "0.5"}, "macs must be a share"),
        ({"macs": True}, "macs must be a share"),
        ({"max_drop": "1"}, "max_drop is in points"),
        ({"max_drop": True}, "max_drop is in points"),
        ({"macs": 0.5, "rounds": 1.5}, "rounds must be a whole number from 1"),
        ({"macs": 0.5, "rounds": 2, "epochs": "2"}, "epochs must be a whole number from 0"),
        ({"macs": 0.5, "round_to": True}, "round_to must be a whole number from 1"),
        ({"macs": 0.5, "samples": 0}, "samples must be a whole number from 1"),
        ({"macs": 0.5, "samples": "many"}, "samples must be a whole number from 1"),
        ({"macs": 0.5, "seed": -1}, "seed must be a whole number from 0"),
        ({"latency": 0.5, "batch": 1.0}, "batch must be a whole number from 1"),
        ({"latency": 0.5, "threads": None}, "threads must be a whole number from 1"),
        ({"max_drop": 1.0, "trials": "few"}, "trials must be a whole number from 1"),
        ({"macs": 0.5, "floor": "0.1"}, "floor must be a share"),
        ({"macs": 0.5, "heal": "yes"}, "heal must be True or False"),
        ({"macs": 0.5, "sensitivity": "no"}, "sensitivity must be True or False"),
        ({"macs": 0.5, "keep": "hidden"}, "keep must be a tuple of patterns"),
        ({"macs": 0.5, "keep": 3}, "keep must be a tuple of patterns"),
        ({"macs": 0.5, "kinds": "channel"}, "kinds cannot be 'channel'"),
        ({"macs": 0.5, "kinds": 5}, "kinds cannot be 5"),
        ({"macs": 0.5, "by": ["l2"]}, r"no criterion \['l2'\]"),
        ({"macs": 0.5, "rounds": 2, "schedule": ["cubic"]}, r"no schedule \['cubic'\]"),
        ({"macs": 0.5, "rewind": 5}, "rewind must be the path"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(options, said):
    with pytest.raises(PlanError, match=said):
        Prune(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"macs": 0.5, "runtime": "openvino"}, "runtime is for a budget that is measured"),
        ({"macs": 0.5, "batch": 64}, "batch is for a budget that is measured"),
        ({"max_drop": 1.0, "threads": 2}, "threads is for a budget that is measured"),
        ({"macs": 0.5, "metric": "auc"}, "metric is for a search"),
        ({"macs": 0.5, "smallest": "params"}, "smallest is for a search"),
        ({"latency": 0.5, "trials": 3}, "trials is for a search"),
    ],
)
def test_an_argument_that_would_do_nothing_is_refused(options, said):
    with pytest.raises(PlanError, match=said) as refused:
        Prune(**options)
    assert "Leave it out, or give" in str(refused.value)


def test_a_search_by_latency_says_how_it_is_measured():
    Prune(max_drop=1.0, smallest="latency", batch=8, threads=2, trials=3, metric="auc")


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


def test_a_schedule_divides_the_budget_among_rounds(model, data):
    step = Prune(macs=0.3, by="l2", round_to=1, floor=0.05, rounds=3, schedule="linear")
    result = step(model, data)
    left = np.cumprod([plan.after["macs"] / plan.before["macs"] for plan in result.plans])
    np.testing.assert_allclose(left, [1 - 0.7 / 3, 1 - 1.4 / 3, 0.3], atol=0.04)
    assert left[-1] <= 0.3


def test_a_schedule_that_has_a_round_do_nothing_is_refused():
    with pytest.raises(PlanError, match="round 2 of 3"):
        Prune(macs=0.5, rounds=3, schedule="one_shot")
    with pytest.raises(PlanError, match="divided among rounds"):
        Prune(macs=0.5, schedule="cubic")


def test_a_budget_of_bytes_holds(model, data):
    result = Prune(bytes=0.5, by="l2", round_to=2)(model, data)
    assert 0.4 * result.before.bytes < result.after.bytes <= 0.5 * result.before.bytes


def test_rewound_weights_are_those_of_early_in_the_training(model, data, tmp_path):
    early = keras.models.clone_model(model)
    early.set_weights([weight + 1 for weight in model.get_weights()])
    early.save(tmp_path / "early.keras")
    asked = {"macs": 0.5, "by": "l2", "round_to": 4}
    result = Prune(**asked, rewind=tmp_path / "early.keras")(model, data)
    plain = Prune(**asked, heal=False)(model, data)
    assert [stage.name for stage in result.stages] == ["rewound"]
    assert result.plan == plain.plan
    for rewound, trained in zip(result.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_allclose(rewound, trained + 1, rtol=1e-6)


def test_rewinding_by_rounds_trains_in_between(model, data, tmp_path):
    model.save(tmp_path / "early.keras")
    with pytest.raises(PlanError, match="has to be trained"):
        Prune(macs=0.5, rounds=2, rewind=tmp_path / "early.keras")
    step = Prune(macs=0.5, by="l2", round_to=4, rounds=2, epochs=1, rewind=tmp_path / "early.keras")
    names = [stage.name for stage in step(model, data).stages]
    assert names == ["rewound 1/2", "trained 1/2", "rewound 2/2"]


def test_weights_of_another_model_are_refused_before_any_cut(model, data, tmp_path, untouched):
    i = keras.Input((8,))
    keras.Model(i, layers.Dense(2)(i)).save(tmp_path / "other.keras")
    for budget in ({"macs": 0.5}, {"max_drop": 1.0, "epochs": 1}):
        with pytest.raises(PlanError, match=r"those of another model: .*kernel is") as refused:
            Prune(**budget, by="l2", rewind=tmp_path / "other.keras")(model, data)
        assert "other.keras" in str(refused.value)
    with pytest.raises(ModelError):
        Prune(macs=0.5, by="l2", rewind=tmp_path / "none.keras")(model, data)


@pytest.fixture
def untouched(monkeypatch):
    """Let whatever is cut or trained be a failure."""

    def fails(*_, **__):
        raise AssertionError("a cut or a training")

    for module in ("secateur.steps.prune", "secateur.steps.sensitivity"):
        monkeypatch.setattr(f"{module}.cut", fails)
    monkeypatch.setattr("secateur.steps.finetune.fit", fails)


@pytest.mark.parametrize("scope", ["global", "local", "isomorphic"])
@pytest.mark.parametrize("budget", ["macs", "params", "bytes"])
def test_a_budget_out_of_reach_is_refused_before_the_first_round(
    model, data, untouched, budget, scope
):
    step = Prune(**{budget: 0.01}, by="l2", scope=scope, rounds=3, epochs=2)
    with pytest.raises(BudgetError, match=f"{budget} cannot fall to 1.0% of the model"):
        step(model, data)


def test_training_between_rounds_without_data_is_refused_before_the_first(model, untouched):
    with pytest.raises(DataError, match="between rounds needs data"):
        Prune(macs=0.5, by="l2", rounds=2, epochs=1)(model)


def test_a_criterion_on_inputs_needs_no_labels(model, data):
    with pytest.raises(DataError, match="needs data, and none"):
        Prune(macs=0.5, by="wanda")(model)
    result = Prune(macs=0.5, by="wanda", round_to=4)(model, data)
    assert result.plan.by == "wanda"


@writes_files
def test_a_latency_is_met_by_measuring_it(data):
    keras.utils.set_random_seed(0)
    x = i = keras.Input((8,), name="array")
    for _ in range(3):
        x = layers.Dense(512, "relu")(x)
    wide = keras.Model(i, layers.Dense(2, "softmax")(x))
    result = Prune(latency=0.6, batch=64, by="l2")(wide, data)
    told = [note.what for note in result.notes if "of the latency is left" in note.what]
    assert len(told) == 1
    assert "ONNX Runtime" in told[0]
    assert result.plan.asked == {"latency": 0.6}


def test_a_runtime_that_is_not_known_is_refused():
    with pytest.raises(ModelError, match="no runtime 'onx'"):
        Prune(latency=0.5, runtime="onx")


@pytest.fixture
def clocked(monkeypatch):
    """Let a call last as long as a model has parameters, and all but the given one a tenth more."""
    seen = []

    class Elements:
        step = 1

        def cost(self, key, lengths):
            return float(np.prod(lengths))

    def race(models, **_):
        sizes = {name: each.count_params() for name, each in models.items()}
        seen.append(sizes["whole"])
        scale = 1.0 if sizes["whole"] == clocked.given else 1.1
        sizes["whole"] *= scale
        sizes["smaller"] *= 1.1
        return {
            name: Latency(
                runtime="onnxruntime", batch=1, threads=1, median_ms=size, p95_ms=size, runs=1
            )
            for name, size in sizes.items()
        }

    def clocked(model):
        clocked.given = model.count_params()
        return seen

    monkeypatch.setattr(latency, "race", race)
    monkeypatch.setattr(latency, "write_for", lambda model, *_: model)
    monkeypatch.setattr(timed, "latency_table", lambda *_, **__: Elements())
    return clocked


def test_a_latency_in_rounds_is_a_share_of_that_of_the_given_model(model, data, clocked):
    seen = clocked(model)
    step = Prune(latency=0.4, by="l2", round_to=1, rounds=2)
    result = step(model, data)
    assert set(seen) == {model.count_params()}
    assert result.model.count_params() * 1.1 <= 0.4 * model.count_params()
    assert [plan.asked["latency"] for plan in result.plans] == pytest.approx([0.4**0.5, 0.4])


def test_a_latency_out_of_reach_is_refused_before_the_first_round(model, data, clocked, untouched):
    clocked(model)
    with pytest.raises(BudgetError, match="best that was measured"):
        Prune(latency=0.02, by="l2", rounds=3, epochs=2)(model, data)
