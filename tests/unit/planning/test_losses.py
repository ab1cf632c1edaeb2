"""What a group has lost when some of its units are gone."""

import numpy as np
import pytest

from secateur.planning.losses import losses_of


def test_few_units_lose_what_their_scores_sum_up_to():
    scores = np.r_[np.full(10, 0.01), np.full(90, 1.0)]
    assert losses_of(scores)[10] == pytest.approx(0.1, rel=0.01)


def test_with_half_of_the_score_left_the_loss_is_the_whole_score():
    assert losses_of(np.ones(8))[4] == pytest.approx(8)


def test_each_unit_is_missed_more_than_the_one_before():
    steps = np.diff(losses_of(np.sort(np.random.default_rng(0).random(16))))
    assert (np.diff(steps) > 0).all()


def test_to_lose_all_is_worse_than_any_part_and_finite():
    losses = losses_of(np.array([0.0, 1.0, 2.0]))
    assert np.isfinite(losses).all()
    assert losses[-1] > 1e6 * losses[-2]


@pytest.mark.parametrize("scores", [[-1.0, 2.0, 3.0], [0.0, 0.0]])
def test_scores_of_which_no_share_can_be_taken_add_up(scores):
    assert losses_of(np.array(scores)).tolist() == [0.0, *np.cumsum(scores)]


def test_what_was_measured_adds_up():
    assert losses_of(np.array([1.0, 3.0]), additive=True).tolist() == [0.0, 1.0, 4.0]
