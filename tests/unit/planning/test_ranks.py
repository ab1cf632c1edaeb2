import numpy as np
import pytest

from secateur.errors import BudgetError
from secateur.planning.ranks import Choice, allocate, by_energy, least_left, vbmf_rank


def matrix(rank, shape=(60, 100), noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = shape
    signal = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    return signal + noise * rng.normal(size=shape)


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (80, 80), (20, 400)])
@pytest.mark.parametrize("rank", [0, 1, 5, 12])
def test_vbmf_finds_the_rank_beneath_noise(shape, rank):
    values = np.linalg.svd(matrix(rank, shape), compute_uv=False)
    assert vbmf_rank(values, *shape) == rank


def test_vbmf_knows_the_noise_by_no_scale():
    values = np.linalg.svd(matrix(7), compute_uv=False)
    assert {vbmf_rank(scale * values, 60, 100) for scale in (1e-4, 1.0, 1e5)} == {7}


def test_vbmf_of_nothing_is_nothing():
    assert vbmf_rank(np.zeros(5), 5, 9) == 0
    assert vbmf_rank(np.array([2.0]), 1, 1) in (0, 1)


def choices(full, errors):
    """Return choices that cost equal steps of a layer, and lose what is said."""
    step = full // (len(errors) + 1)
    return [
        Choice("svd", (n + 1,), (n + 1) * step, (n + 1) * step, 4 * (n + 1) * step, error)
        for n, error in enumerate(errors)
    ]


def whole(full):
    return Choice("whole", (), full, full, 4 * full, 0.0)


def test_energy_takes_the_cheapest_that_is_enough():
    options = choices(100, [0.5, 0.2, 0.1, 0.05])
    assert by_energy(options, 0.8).ranks == (2,)
    assert by_energy(options, 0.81).ranks == (3,)
    assert by_energy(options, 0.99) is None


def test_a_budget_takes_from_the_layer_that_loses_least():
    options = {"flat": choices(100, [0.02, 0.01]), "steep": choices(100, [0.9, 0.5])}
    chosen = allocate(
        options, {n: whole(100) for n in options}, budget="macs", share=0.7, total=200
    )
    assert chosen == {"flat": options["flat"][0]}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("budget", ["macs", "params", "bytes"])
def test_budgets_hold_and_are_used(seed, budget):
    rng = np.random.default_rng(seed)
    options, wholes, total = {}, {}, 0
    for number in range(6):
        full = int(rng.integers(50, 500)) * 20
        options[str(number)] = choices(full, np.sort(rng.random(18))[::-1].tolist())
        wholes[str(number)] = whole(full)
        total += getattr(wholes[str(number)], budget)
    share = rng.uniform(0.15, 0.95)
    chosen = allocate(options, wholes, budget=budget, share=share, total=total)
    left = sum(getattr(chosen.get(name, wholes[name]), budget) for name in options)
    assert left <= share * total
    # No better choice of any layer fits in what is left.
    for name, choice in chosen.items():
        for other in options[name]:
            if other.error < choice.error:
                more = getattr(other, budget) - getattr(choice, budget)
                assert left + more > share * total


def test_a_budget_that_cannot_be_met_names_the_best():
    options = {"one": choices(100, [0.9, 0.5, 0.2])}
    with pytest.raises(BudgetError, match=r"20\.0% of the params.*62\.5%"):
        allocate(options, {"one": whole(100)}, budget="params", share=0.2, total=200)


def test_the_least_that_can_be_left_can_be_asked_for():
    options = {"a": choices(300, [0.7, 0.2]), "b": choices(90, [0.4]), "c": []}
    wholes = {"a": whole(300), "b": whole(90), "c": whole(50)}
    asked = {"budget": "bytes", "total": 4 * 500}
    least = least_left(options, wholes, **asked)
    assert least == pytest.approx(1 - (200 + 45) / 500)
    chosen = allocate(options, wholes, share=least * (1 + 1e-9), **asked)
    assert {name: choice.ranks for name, choice in chosen.items()} == {"a": (1,), "b": (1,)}
    with pytest.raises(BudgetError):
        allocate(options, wholes, share=least * (1 - 1e-9), **asked)
    assert least_left({}, {}, budget="macs", total=0) == 1
