import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import BudgetError, DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.planning.plan import Plan
from secateur.steps.prune import Prune
from secateur.steps.search import cheapest
from secateur.steps.sensitivity import loss_of, sensitivity
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 8)).astype("float32")
    return read((x, (x[:, 0] * x[:, 1] > 0).astype("int32")))


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    x = i = keras.Input((8,), name="array")
    x = layers.Dense(32, "relu", name="one")(x)
    x = layers.Dense(32, "relu", name="two")(x)
    built = keras.Model(i, layers.Dense(2, "softmax")(x))
    return fit(built, data, epochs=15, learning_rate=1e-2)[0]


def fake(limit, reach=0.0):
    def attempt(share):
        if share < reach:
            raise BudgetError("cannot fall so far.")
        return f"model at {share}", 0.9 if share >= limit else 0.5

    return attempt


def search(attempt, **more):
    options = {"whole": 0.9, "max_drop": 1.0, "trials": 8, "named": "accuracy"} | more
    return cheapest(attempt, **options)


@pytest.mark.parametrize("limit", [0.13, 0.5, 0.77])
def test_bisection_finds_the_smallest_budget_that_is_good_enough(limit):
    result, share, tried = search(fake(limit))
    assert limit <= share <= limit + 0.02
    assert result == f"model at {share}"
    assert len(tried) <= 8
    assert next(trial for trial in tried if trial.share == share).drop == 0


def test_a_budget_that_cannot_be_met_is_passed_over():
    _, share, tried = search(fake(0.1, reach=0.3))
    assert 0.3 <= share <= 0.32
    assert any("cannot fall" in trial.why for trial in tried)


def test_nothing_within_the_drop_names_what_was_tried():
    with pytest.raises(
        BudgetError, match=r"within 1 points of 90\.0% accuracy; tried: 50\.0%: 50\.0%"
    ):
        search(fake(2.0), trials=2)


def test_nothing_within_the_drop_names_the_least():
    drops = iter([0.7, 0.8666, 0.6])
    with pytest.raises(BudgetError, match=r"larger max_drop \(3\.34 was reached\), train"):
        search(lambda share: ("model", next(drops)), trials=3)


def test_where_no_budget_can_be_met_the_last_refusal_is_told():
    with pytest.raises(BudgetError, match=r"^prune: no budget .* last one: cannot fall so far"):
        search(fake(0.1, reach=1.0))


def test_the_smallest_model_within_the_drop(model, data):
    before = [np.array(w) for w in model.weights]
    result = Prune(max_drop=3.0, round_to=4)(model, data)
    whole, found = (evaluate(each, data.validation).accuracy for each in (model, result.model))
    assert found >= whole - 0.03
    assert result.after.macs < 0.7 * result.before.macs
    tried = [note.what for note in result.notes if note.step == "search"]
    assert len(tried) >= 4
    assert sum("(chosen)" in each for each in tried) == 1
    assert {note.where for note in result.notes if note.step == "sensitivity"} == {"one", "two"}
    for value, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(value, weight)


def test_trials_may_be_trained_before_they_are_judged(model, data):
    result = Prune(max_drop=3.0, round_to=4, epochs=2, trials=3, metric="auc")(model, data)
    assert [stage.name for stage in result.stages] == ["cut", "healed", "fine-tuned"]
    assert any(note.where == "auc by macs left" for note in result.notes)


def test_curves_rise_and_healing_lowers_them(model, data):
    curves = sensitivity(model, data, round_to=4, samples=200)
    assert [curve.group for curve in curves] == ["one", "two"]
    judged = data.validation.sample(200, seed=0)
    for curve in curves:
        assert curve.shares == (0.25, 0.5, 0.75)
        assert curve.whole == pytest.approx(loss_of(model, *judged))
        assert curve.cut[0] <= curve.cut[-1]
        assert sum(curve.healed) < sum(curve.cut)
        assert "healed" in str(curve)
    unhealed = sensitivity(model, data, round_to=4, samples=200, heal=False, shares=(0.5,))
    assert all(curve.cut == curve.healed for curve in unhealed)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_drop": -1}, "max_drop is in points"),
        ({"max_drop": 1, "metric": "f1"}, "metric cannot be 'f1'"),
        ({"max_drop": 1, "metric": "r2"}, "has no r2"),
        ({"max_drop": 1, "smallest": "joy"}, "smallest cannot be 'joy'"),
        ({"max_drop": 1, "trials": 0}, "trials must be a whole number from 1"),
        ({"max_drop": 1, "macs": 0.5}, "exactly one budget"),
        ({"macs": 0.5, "sensitivity": True, "rounds": 2}, "one round alone"),
    ],
)
def test_what_a_search_cannot_do_is_refused(model, data, wrong, said):
    with pytest.raises(PlanError, match=said):
        Prune(**wrong)(model, data)


def test_a_search_without_data_is_refused(model):
    with pytest.raises(DataError, match="validation rows"):
        Prune(max_drop=1.0)(model)
    with pytest.raises(DataError, match="sensitivity is measured on data"):
        Prune(macs=0.5, sensitivity=True)(model)


def test_scores_that_are_no_numbers_are_refused_by_criterion_and_group(model, data):
    def broken(group, stats):
        return np.where(np.arange(len(group)) == 3, np.nan, 1.0)

    for step in (
        lambda: sensitivity(model, data, by=broken),
        lambda: Prune(macs=0.5, by=broken, sensitivity=True)(model, data),
        lambda: Prune(max_drop=1.0, by=broken)(model, data),
    ):
        with pytest.raises(PlanError, match=r"^one: .* 'broken' gave 1 that are not finite"):
            step()


def test_plans_of_a_search_are_ordinary(model, data):
    result = Prune(max_drop=5.0, round_to=4, trials=2)(model, data)
    assert Plan.from_json(result.plan.to_json()) == result.plan


def test_a_drop_of_just_what_is_allowed_is_within_it():
    # A hundredth of 200 rows: in floats, 100 * (0.95 - 0.94) is a little more than one.
    options = {"whole": 190 / 200, "max_drop": 1.0, "trials": 3, "named": "accuracy"}
    _, share, _ = cheapest(lambda share: ("model", 188 / 200), **options)
    assert share < 0.5
