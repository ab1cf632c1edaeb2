import numpy as np
import pytest

from secateur.steps.decompositions import (
    Kernel,
    Seen,
    balanced,
    composed,
    penalty_for,
    spectrum,
)

RNG = np.random.default_rng(0)


def moments(features, groups=1, rows=400, seed=0, squeeze=3.0):
    """Return inputs of which a few directions are much larger than others, and their moments."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-squeeze * np.arange(features) / features)
    turn = np.linalg.qr(rng.normal(size=(features, features)))[0]
    x = rng.normal(size=(groups, rows, features)) * scale @ turn
    return x, Seen(x.swapaxes(1, 2) @ x / rows)


def lost(x, weights, other):
    return np.square(x @ (weights - other)).sum() / np.square(x @ weights).sum()


@pytest.mark.parametrize("shape", [(1, 12, 20), (1, 20, 12), (3, 10, 10)])
@pytest.mark.parametrize("aware", [False, True])
def test_the_full_rank_is_the_matrix(shape, aware):
    weights = RNG.normal(size=shape)
    _, seen = moments(shape[1], shape[0])
    found = spectrum(weights, seen if aware else None, 1e-6)
    first, second = found.factors(min(shape[1:]))
    np.testing.assert_allclose(first @ second, weights, atol=1e-8)
    assert found.errors[-1] == pytest.approx(0, abs=1e-10)


def test_errors_are_what_is_lost_and_fall():
    weights = RNG.normal(size=(2, 16, 24))
    x, seen = moments(16, 2)
    found = spectrum(weights, seen, 1e-4)
    for rank in range(1, 17):
        first, second = found.factors(rank)
        assert found.errors[rank] == pytest.approx(lost(x, weights, first @ second), abs=1e-9)
    assert found.errors[0] == 1
    assert (np.diff(found.errors) <= 1e-12).all()


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 1.0, 100.0])
def test_no_penalty_makes_data_worse_than_none(penalty):
    weights = RNG.normal(size=(1, 16, 24))
    x, seen = moments(16)
    aware, plain = spectrum(weights, seen, penalty), spectrum(weights)
    for rank in range(1, 16):
        one, other = (np.matmul(*each.factors(rank)) for each in (aware, plain))
        assert lost(x, weights, one) <= lost(x, weights, other) + 1e-12


def test_without_a_penalty_nothing_of_that_rank_is_better():
    weights = RNG.normal(size=(1, 10, 14))
    x, seen = moments(10)
    values = np.linalg.svd(x[0] @ weights[0], compute_uv=False) ** 2
    best = 1 - np.cumsum(values)[:10] / values.sum()
    np.testing.assert_allclose(spectrum(weights, seen).errors[1:], best, atol=1e-9)


def test_few_rows_call_for_a_larger_penalty():
    weights = RNG.normal(size=(1, 64, 64))
    few, many = (
        penalty_for(weights, moments(64, rows=rows, seed=1)[1], moments(64, rows=4000, seed=1)[1])
        for rows in (20, 4000)
    )
    assert many <= few


def test_codes_are_weighed_by_how_often_they_are_met():
    table = RNG.normal(size=(1, 9, 6))
    often = np.array([[0.4, 0.4, 0.1, 0.1, 0, 0, 0, 0, 0]])
    found = spectrum(table, Seen(often), 1e-6)
    first, second = found.factors(4)
    np.testing.assert_allclose((first @ second)[0, :4], table[0, :4], atol=1e-2)
    _, seen = Seen(often), Seen(np.diag(often[0])[None])
    np.testing.assert_allclose(found.errors, spectrum(table, seen, 1e-6).errors, atol=1e-9)


def test_factors_are_of_equal_lengths():
    first, second = balanced(RNG.normal(size=(1, 5, 3)), 100 * RNG.normal(size=(1, 3, 7)))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=2))


SHAPES = [(3, 3, 4, 6), (5, 3, 6, 4), (3, 1, 5, 7)]


def kernel(shape, aware, penalty=1e-6):
    values = np.random.default_rng(3).normal(size=shape)
    seen = moments(int(np.prod(shape[:3])), rows=300)[1] if aware else None
    return Kernel(values, seen, penalty)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("aware", [False, True])
def test_kernels_of_full_rank_are_the_kernel(shape, aware):
    found = kernel(shape, aware)
    high, wide, read, made = shape
    whole = found.spatial(min(high * read, wide * made))
    np.testing.assert_allclose(composed(whole), found.values, atol=1e-6)
    np.testing.assert_allclose(composed(found.tucker(read, made)), found.values, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_fitted_to_data_lose_no_more_of_it(shape):
    aware, plain = kernel(shape, True, 1e-2), kernel(shape, False)
    for rank in (1, 2, 3):
        assert aware.error(aware.spatial(rank)) <= aware.error(plain.spatial(rank)) + 1e-12
        one, other = (each.tucker(rank, rank + 1) for each in (aware, plain))
        assert aware.error(one) <= aware.error(other) + 1e-12


@pytest.mark.parametrize("aware", [False, True])
def test_kernels_of_higher_rank_lose_less(aware):
    found = kernel(SHAPES[0], aware)
    spatial = [found.error(found.spatial(rank)) for rank in range(1, 13)]
    tucker = [found.error(found.tucker(rank, rank)) for rank in range(1, 5)]
    assert (np.diff(spatial) <= 1e-9).all()
    assert (np.diff(tucker) < 0).all()


def test_plain_errors_are_shares_of_the_squared_weights():
    found = kernel(SHAPES[0], False)
    values = np.linalg.svd(found.as_columns, compute_uv=False) ** 2
    assert found.error(found.spatial(4)) == pytest.approx(values[4:].sum() / values.sum())
