"""Splits are decided by content: the same every time, exact shares, whole groups."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data import splits
from secateur.errors import DataError

SHARES = st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)])


def hashes_of(values, seed=0):
    return splits.seeded(splits.hash_words([str(v) for v in values]), seed)


@settings(deadline=None)
@given(rows=st.integers(1, 300), classes=st.integers(1, 5), shares=SHARES, seed=st.integers(0, 9))
def test_stratified_shares_are_exact_in_each_class(rows, classes, shares, seed):
    labels = np.random.default_rng(seed).integers(0, classes, rows)
    codes = splits.assign(hashes_of(range(rows), seed), shares, labels)
    for label in range(classes):
        counts = np.bincount(codes[labels == label], minlength=3)
        exact = np.array(shares) * (labels == label).sum()
        assert np.abs(counts - exact).max() <= 1


@settings(deadline=None)
@given(rows=st.integers(2, 200), shares=SHARES, seed=st.integers(-5, 5))
def test_the_order_of_rows_does_not_matter(rows, shares, seed):
    hashes = hashes_of(range(rows), seed)
    labels = np.arange(rows) % 3
    order = np.random.default_rng(0).permutation(rows)
    codes = splits.assign(hashes, shares, labels)
    assert (splits.assign(hashes[order], shares, labels[order]) == codes[order]).all()


def test_another_seed_gives_other_splits():
    one, other = (splits.assign(hashes_of(range(1000), seed), (0.6, 0.2, 0.2)) for seed in (0, 1))
    assert 0.3 < (one != other).mean() < 0.8


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=60),
    shares=SHARES,
    seed=st.integers(0, 20),
)
def test_no_group_is_in_two_splits_and_none_is_empty(sizes, shares, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    codes = splits.assign_groups(hashes_of(groups, seed), shares)
    assert all(len(set(codes[groups == group])) == 1 for group in range(len(sizes)))
    assert set(codes) == {0, 1, 2}


def test_group_shares_come_near_with_many_groups():
    groups = np.repeat(np.arange(300), 7)
    counts = np.bincount(splits.assign_groups(hashes_of(groups), (0.6, 0.2, 0.2))) / len(groups)
    np.testing.assert_allclose(counts, (0.6, 0.2, 0.2), atol=0.01)


def test_too_few_groups():
    with pytest.raises(DataError, match="2 groups, too few for 3 splits"):
        splits.assign_groups(hashes_of([0, 0, 1]), (0.6, 0.2, 0.2))


def test_loose_shares_hold_on_average_and_need_no_other_row():
    hashes = hashes_of(range(50_000))
    codes = splits.assign_loosely(hashes, (0.6, 0.2, 0.2))
    np.testing.assert_allclose(np.bincount(codes) / len(codes), (0.6, 0.2, 0.2), atol=0.01)
    assert (splits.assign_loosely(hashes[:10], (0.6, 0.2, 0.2)) == codes[:10]).all()


def test_rows_hash_by_content_whatever_their_types():
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", None], "c": [True, False, True]})
    other = pa.table(
        {
            "a": pa.array([1.0, 2.0, 3.0], pa.float32()),
            "b": pa.array(["x", "y", None], pa.large_string()).dictionary_encode(),
            "c": [1, 0, 1],
        }
    )
    assert (splits.hash_rows(table) == splits.hash_rows(other)).all()
    assert len(set(splits.hash_rows(table).tolist())) == 3
    changed = splits.hash_rows(table.set_column(0, "a", pa.array([1, 2, 4])))
    assert (changed == splits.hash_rows(table)).tolist() == [True, True, False]


def test_zeros_and_missing_numbers_are_one_each():
    def hashes(values):
        return splits.hash_rows(pa.table({"a": pa.array(values, pa.float64())})).tolist()

    assert hashes([0.0]) == hashes([-0.0])
    assert hashes([None]) == hashes([float("nan")])


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_stay_together_at_the_borders_too(seed):
    hashes = np.repeat(hashes_of(range(200), seed), 7)
    codes = splits.assign(hashes, (0.6, 0.2, 0.2))
    assert all(len(set(copies)) == 1 for copies in codes.reshape(200, 7))
    assert np.abs(np.bincount(codes) - [840, 280, 280]).max() <= 7


def test_equal_rows_are_parted_where_a_split_would_be_lost():
    hashes = np.repeat(hashes_of(range(3)), [48, 1, 1])
    counts = np.bincount(splits.assign(hashes, (0.6, 0.2, 0.2)), minlength=3)
    assert counts.tolist() == [30, 10, 10]


def test_copies_are_told_apart_where_most_rows_are_copies():
    few = np.repeat(hashes_of(range(100)), [2] * 90 + [1] * 10)
    same, copies = splits.apart(few)
    assert copies == 90
    assert (same == few).all()
    many = np.tile(hashes_of(range(4)), 100)
    spread, copies = splits.apart(many)
    assert copies == 396
    assert len(set(spread.tolist())) == 400
    codes = splits.assign(spread, (0.6, 0.2, 0.2))
    assert all(set(codes[i::4]) == {0, 1, 2} for i in range(4))
    assert splits.apart(many[:0])[1] == 0


def test_hashes_do_not_change_from_version_to_version():
    hashes = splits.hash_words(["a"])
    assert hashes.tolist() == [4681665781835383343]
    assert splits.seeded(hashes, 7).tolist() == [8976652747914204673]


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="the test split is empty: 3 usable rows"):
        splits.demand_rows(np.array([0, 0, 1], np.uint8))
