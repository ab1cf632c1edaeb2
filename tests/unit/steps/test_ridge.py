import numpy as np
import pytest

from secateur.steps.ridge import Moments, solve, solved


def of_groups(groups, rows=400, features=5, units=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, rows, features))
    weights = np.random.default_rng(9).normal(size=(groups, features, units))
    return x, weights, x @ weights


def test_each_group_is_solved_on_its_own():
    x, weights, r = of_groups(4)
    change = solve(Moments.of(x, r + 1), Moments.of(x[:, :90], r[:, :90] + 1), offset=True)
    np.testing.assert_allclose(change.weights, weights, atol=1e-5)
    np.testing.assert_allclose(change.offset, np.ones((4, 3)), atol=1e-5)
    assert change.explained == pytest.approx(1)
    assert change.degenerate == 0


def test_a_group_that_gains_nothing_on_rows_held_back_keeps_its_weights():
    x, weights, r = of_groups(2, rows=60)
    held_x, _, held = of_groups(2, rows=60, seed=1)
    # What the second group is fitted to is the opposite on the rows held back.
    held[1] = -held[1]
    change = solve(Moments.of(x, r), Moments.of(held_x, held), offset=False)
    assert not change.weights[1].any()
    np.testing.assert_allclose(change.weights[0], weights[0], atol=1e-5)


def test_moments_of_parts_add_up_to_those_of_all():
    x, _, r = of_groups(3)
    whole = Moments.of(x, r)
    parts = Moments.of(x[:, :150], r[:, :150]) + Moments.of(x[:, 150:], r[:, 150:])
    assert whole.rows == parts.rows
    for name in ("x", "r", "xx", "xr", "rr"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), atol=1e-9)


def test_equations_that_elimination_cannot_solve_get_the_pseudo_inverse():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 50, 6))
    x[1, :, 3:] = x[1, :, :3]
    a = x.swapaxes(1, 2) @ x
    b = a @ rng.normal(size=(2, 6, 2))
    w, degenerate = solved(a, b, np.zeros(2))
    # Elimination may or may not see that the second group is singular; what comes out must do.
    assert degenerate <= 1
    np.testing.assert_allclose(a @ w, b, atol=1e-6 * np.abs(b).max())
    singular = np.ones((1, 2, 2))
    w, degenerate = solved(singular, np.ones((1, 2, 1)), np.zeros(1))
    assert degenerate == 1
    np.testing.assert_allclose(w, np.full((1, 2, 1), 0.5))


def test_inputs_that_are_the_same_in_every_row_give_only_the_offset():
    x, r = np.ones((1, 40, 3)), np.full((1, 40, 2), 5.0)
    change = solve(Moments.of(x, r), Moments.of(x, r), offset=True)
    assert not change.weights.any()
    np.testing.assert_allclose(change.offset, [[5, 5]])
