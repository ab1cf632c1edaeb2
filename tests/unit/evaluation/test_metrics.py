import numpy as np
import pytest

from secateur.data.contract import Contract, NumericColumn, Target
from secateur.errors import ModelError
from secateur.evaluation.metrics import Metrics, metrics

COLUMN = (NumericColumn(name="n", low=0, high=1),)


def contract(*classes: str) -> Contract:
    target = Target(name="t", classes=classes or None)
    return Contract(kind="table", columns=COLUMN, target=target)


def test_a_small_case_counted_by_hand():
    y = np.array([0, 0, 0, 1, 1, 2])
    guess = np.array([0, 0, 1, 1, 2, 2])
    got = metrics(y, np.eye(3)[guess], contract("a", "b", "c"))
    assert got.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert got.rows == 6
    assert got.accuracy == pytest.approx(4 / 6)
    assert got.chance == pytest.approx(0.5)
    assert got.per_class == pytest.approx({"a": 2 / 3, "b": 1 / 2, "c": 1.0})
    assert got.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert got.macro_f1 == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
    assert got.headline == ("accuracy", got.accuracy)


def test_logits_and_probabilities_of_two_classes_agree():
    y = np.array([0, 1, 1, 0])
    second = np.array([0.2, 0.9, 0.4, 0.1])
    two = metrics(y, np.stack([1 - second, second], 1), contract("no", "yes"))
    one = metrics(y, second[:, None], contract("no", "yes"))
    assert one == two
    assert one.confusion == ((2, 0), (1, 1))


def test_auc_counts_the_pairs_in_right_order():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 200)
    score = np.round(random.random(200) + 0.3 * y, 1).clip(0, 1)
    pairs = score[y == 1][:, None] - score[y == 0][None]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert metrics(y, score[:, None], contract("no", "yes")).auc == pytest.approx(expected)


def test_regression_figures():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    got = metrics(y, (y + np.array([1, -1, 1, -1]))[:, None], contract())
    assert (got.mae, got.rmse) == (1.0, 1.0)
    assert got.r2 == pytest.approx(1 - 4 / 5)
    assert got.headline == ("r2", got.r2)
    assert "MAE 1" in got.summary()


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    got = metrics(np.array([0, 1]), np.eye(3)[[0, 1]], contract("a", "b", "c"))
    assert (got.accuracy, got.macro_f1, got.balanced_accuracy) == (1, 1, 1)
    assert got.per_class == {"a": 1, "b": 1}


def test_near_chance_is_seen():
    y = np.array([0] * 80 + [1] * 20)
    always = np.tile([0.9, 0.1], (100, 1))
    assert metrics(y, always, contract("no", "yes")).near_chance
    assert not metrics(y, np.eye(2)[y], contract("no", "yes")).near_chance
    assert metrics(y.astype(float), np.zeros((100, 1)), contract()).near_chance


def test_outputs_that_are_no_numbers_are_an_error():
    outputs = np.array([[0.5, 0.5], [np.nan, 0.5]])
    with pytest.raises(ModelError, match="1 of 2 rows"):
        metrics(np.array([0, 1]), outputs, contract("a", "b"))
    with pytest.raises(ModelError, match="3 outputs for 2 rows"):
        metrics(np.array([0, 1]), np.ones((3, 2)), contract("a", "b"))


def test_metrics_survive_json():
    got = metrics(np.array([0, 1, 1]), np.eye(2)[[0, 1, 0]], contract("a", "b"))
    assert Metrics.model_validate_json(got.model_dump_json()) == got
