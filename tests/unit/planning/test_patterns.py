import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.errors import PlanError
from secateur.planning.patterns import Block, Layout, NofM, Unstructured
from secateur.planning.rewiring import annealed, rewired


def scores(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random(shape) for shape in shapes]


SHAPES = ((9, 4, 8), (1, 10, 6), (1, 3, 2))


@given(share=st.floats(0, 0.999), scope=st.sampled_from(["global", "local"]))
@settings(max_examples=60, deadline=None)
def test_the_share_is_exact_and_something_stays(share, scope):
    arrays = scores(*SHAPES)
    masks = Unstructured(scope).masks(arrays, share)
    zeros = [int((~mask).sum()) for mask in masks]
    sizes = [mask.size for mask in masks]
    if scope == "local":
        assert zeros == [min(round(share * size), size - 1) for size in sizes]
    else:
        assert sum(zeros) == min(round(share * sum(sizes)), sum(sizes) - len(sizes))
    assert all(mask.any() for mask in masks)
    for array, mask in zip(arrays, masks, strict=True):
        if scope == "local" and mask.any() and not mask.all():
            assert array[~mask].max() <= array[mask].min()


def test_ranked_globally_the_smallest_of_all_go():
    low, high = np.full((1, 4, 4), 0.1), np.full((1, 4, 4), 0.9)
    one, other = Unstructured("global").masks([low, high], 0.25)
    assert (one.sum(), other.sum()) == (8, 16)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (1, 2), (1, 3)])
def test_n_of_m_stay_along_the_inputs(n, m):
    (array,) = scores((3, 2 * m, 5))
    (mask,) = NofM(n, m).masks([array], NofM(n, m).fixed)
    rows = mask.reshape(3, 2, m, 5)
    assert (rows.sum(axis=2) == n).all()
    kept = np.where(rows, array.reshape(rows.shape), np.inf).min(axis=2)
    gone = np.where(rows, -np.inf, array.reshape(rows.shape)).max(axis=2)
    assert (gone < kept).all()


def test_inputs_left_over_stay_dense():
    long, short = NofM(2, 4).masks(scores((1, 10, 3), (9, 3, 8)), 0.5)
    assert (long[:, :8].sum(axis=1) == 4).all()
    assert long[:, 8:].all()
    assert short.all()


@given(share=st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_part_of_the_way_no_row_has_too_many_zeros(share):
    (array,) = scores((2, 8, 4))
    (mask,) = NofM(2, 4).masks([array], share)
    assert (mask.reshape(2, 2, 4, 4).sum(axis=2) >= 2).all()
    assert int((~mask).sum()) == round(share * mask.size)


@pytest.mark.parametrize("sides", [(1, 4), (4, 4), (4, 1), (3, 5)])
def test_blocks_go_whole(sides):
    (array,) = scores((2, 8, 8))
    (mask,) = Block(*sides).masks([array], 0.5)
    for tap in mask:
        for i in range(0, 8, sides[0]):
            for o in range(0, 8, sides[1]):
                block = tap[i : i + sides[0], o : o + sides[1]]
                assert block.all() or not block.any()
    assert 0 < mask.sum() < mask.size


def test_a_block_is_worth_the_mean_of_its_weights_also_at_the_edge():
    array = np.full((1, 1, 5), 0.5)
    array[..., 4] = 0.6
    (mask,) = Block(1, 4).masks([array], 0.5)
    assert mask[0, 0].tolist() == [False] * 4 + [True]


def test_what_is_zero_goes_first():
    (array,) = scores((1, 8, 4))
    before = NofM(2, 4).masks([array], 0.25)[0]
    (later,) = NofM(2, 4).masks([np.where(before, array, -np.inf)], 0.5)
    assert not later[~before].any()


@pytest.mark.parametrize(
    ("name", "roles", "shape", "unrolled"),
    [
        ("kernel", ("read", "write"), (6, 4), (1, 6, 4)),
        ("kernel", (None, None, "read", "write"), (3, 3, 6, 4), (9, 6, 4)),
        ("kernel", (None, None, "write", "read"), (3, 3, 4, 6), (9, 6, 4)),
        ("kernel", (None, None, "read", None), (3, 3, 6, 2), (1, 9, 12)),
        ("recurrent_kernel", ("write", "write"), (5, 20), (1, 5, 20)),
        ("kernel", ("read", "write", "write"), (8, 2, 4), (1, 8, 8)),
        ("kernel", ("read", "read", "write"), (2, 4, 8), (1, 8, 8)),
        ("kernel", (None, None, None), (3, 6, 4), (3, 6, 4)),
    ],
)
def test_a_kernel_of_any_layer_is_taps_inputs_and_outputs(name, roles, shape, unrolled):
    layout = Layout.of(name, roles)
    array = np.arange(np.prod(shape)).reshape(shape)
    assert layout.unrolled(array).shape == unrolled
    np.testing.assert_array_equal(layout.rolled(layout.unrolled(array), shape), array)


def test_patterns_out_of_range_are_refused():
    for wrong in (lambda: NofM(4, 4), lambda: Block(0, 4), lambda: Unstructured("all")):
        with pytest.raises(PlanError):
            wrong()


@given(seed=st.integers(0, 10**6), active=st.floats(0.05, 0.95), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_rewiring_keeps_the_number_of_active_weights(seed, active, share):
    rng = np.random.default_rng(seed)
    mask = rng.random((6, 7)) < active
    mask[0, 0] = True
    after = rewired(mask, rng.normal(size=mask.shape), rng.random(mask.shape), share)
    assert after.sum() == mask.sum()


def test_the_smallest_go_and_the_most_wanted_come():
    mask = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    weights = np.array([4.0, -0.1, 3, 0.2, 0, 0, 0, 0])
    growth = np.array([0, 0, 0, 0, 1, 9, 2, 8])
    assert rewired(mask, weights, growth, 0.5).tolist() == [1, 0, 1, 0, 0, 1, 0, 1]


def test_less_and_less_moves():
    assert [annealed(0.3, p) for p in (0, 0.5, 1)] == pytest.approx([0.3, 0.15, 0])
