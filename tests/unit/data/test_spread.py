"""How values were spread is kept in a few numbers, and other rows are held against it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from secateur.data.read import read
from secateur.data.spread import Reservoir, Spread, psi, reading


def spread_of(values, rows=None):
    reservoir = Reservoir()
    reservoir.add(values)
    return reservoir.spread(rows or len(values))


def distance(spread, values):
    return spread.distance(spread.bins(values), int(np.isnan(values).sum()))


def test_index_of_two_bins_by_hand():
    found = psi(np.array([500_000, 500_000]), np.array([600_000, 400_000]))
    assert found == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8), rel=1e-4)


@pytest.mark.parametrize("rows", [20, 40, 100, 1000])
@pytest.mark.parametrize("kind", ["numbers", "words"])
def test_rows_of_the_same_kind_are_rarely_called_shifted(rows, kind):
    random = np.random.default_rng(7)
    wrong = 0
    for _ in range(500):
        if kind == "numbers":
            spread, other = spread_of(random.normal(size=2000)), random.normal(size=rows)
            index = distance(spread, other)
        else:
            shares = np.array([0.5, 0.3, 0.1, 0.05, 0.05])
            seen = random.multinomial(2000, shares) / 2000
            spread = Spread(rows=2000, shares=tuple(seen.tolist()))
            index = spread.distance(random.multinomial(rows, shares), 0)
        wrong += reading(index, spread.noise(rows)) != "steady"
    assert wrong <= 0.03 * 500


@pytest.mark.parametrize(
    ("shift", "read_as"), [(0.0, "steady"), (0.1, "steady"), (0.4, "shifted"), (1.0, "changed")]
)
def test_a_normal_that_moves(shift, read_as):
    random = np.random.default_rng(0)
    spread = spread_of(random.normal(size=50_000))
    other = random.normal(shift, size=20_000)
    # Two normals of the same width: the index of fine bins is the square of the shift.
    assert distance(spread, other) == pytest.approx(shift**2, rel=0.15, abs=0.003)
    assert reading(distance(spread, other), spread.noise(len(other))) == read_as


def test_few_rows_of_the_same_kind_are_no_change():
    random = np.random.default_rng(1)
    spread = spread_of(random.normal(size=50_000))
    indexes = [distance(spread, random.normal(size=60)) for _ in range(1000)]
    assert np.mean(np.array(indexes) > 0.1) > 0.5
    assert np.mean(np.array(indexes) > spread.noise(60)) < 0.06


def test_bins_hold_a_tenth_each_and_repeated_values_make_fewer():
    random = np.random.default_rng(2)
    spread = spread_of(random.lognormal(0, 3, 100_000), rows=200_000)
    assert len(spread.shares) == 10
    np.testing.assert_allclose(spread.shares, 0.05, atol=0.001)
    assert spread.missing == 0.5
    spread = spread_of(random.integers(0, 3, 10_000).astype(float))
    assert spread.edges[1:] == (0.0, 1.0, 2.0)
    np.testing.assert_allclose(spread.shares, [0, 1 / 3, 1 / 3, 1 / 3, 0], atol=0.03)


def test_a_value_that_was_always_the_same_and_is_no_more():
    spread = spread_of(np.zeros(1000))
    assert distance(spread, np.zeros(50)) == 0
    for other in (np.nan, 1e-9, -1e-9, 5):
        assert distance(spread, np.full(50, other)) > 1
        assert reading(distance(spread, np.full(50, other)), spread.noise(50)) == "changed"


def test_words_beside_the_vocabulary_count():
    spread = Spread(rows=10_000, shares=(0.6, 0.395, 0.005))
    assert spread.distance([600, 395, 5], 0, 0) == pytest.approx(0, abs=1e-3)
    assert spread.distance([300, 200, 0], 0, 500) > 0.25
    assert spread.distance([300, 200, 0], 500, 0) > 0.25


def test_reservoir_does_not_depend_on_blocks_and_is_fair():
    values = np.arange(100_000.0)
    whole, pieces = Reservoir(1000), Reservoir(1000)
    whole.add(values)
    for start in range(0, len(values), 777):
        pieces.add(values[start : start + 777])
    np.testing.assert_array_equal(whole.values, pieces.values)
    assert len(np.unique(whole.values)) == 1000
    assert abs(whole.values.mean() - 50_000) < 3 * 100_000 / np.sqrt(12 * 1000)


def frame(rows=4000):
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "word": random.choice(["x", "y"], rows, p=[0.8, 0.2]),
            "truth": random.random(rows) < 0.3,
            "y": random.choice(["p", "q"], rows, p=[0.9, 0.1]),
        }
    )


def test_a_table_is_read_with_its_spreads():
    data = frame()
    data.loc[:399, "word"] = None
    contract = read(data, target="y").contract
    columns = {column.name: column for column in contract.columns}
    assert columns["a"].spread.rows == 2400
    np.testing.assert_allclose(columns["word"].spread.shares, [0.72, 0.18], atol=0.03)
    assert columns["word"].spread.missing == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(columns["truth"].spread.shares, [0.7, 0.3], atol=0.03)
    np.testing.assert_allclose(contract.target.spread.shares, [0.9, 0.1], atol=0.02)


def test_slips_are_no_part_of_the_range_nor_of_the_rows():
    data = frame()
    data.loc[[5, 77], "a"] = [1e20, -1e9]
    dataset = read(data, target="y")
    (column, *_) = dataset.contract.columns
    assert (column.low, column.high) == (
        data["a"].drop([5, 77]).min(),
        data["a"].drop([5, 77]).max(),
    )
    assert abs(column.mean) < 0.1
    assert 0.9 < column.std < 1.1
    assert dataset.rows == 3998
    assert any("2 rows left out, whose value lies far outside" in note for note in dataset.notes)
    assert np.abs(dataset.train.take(np.arange(dataset.train.rows))["numeric"]).max() < 10


@pytest.mark.parametrize("tail", ["lognormal", "zeros", "many"])
def test_what_is_rare_but_no_slip_stays(tail):
    random = np.random.default_rng(4)
    data = frame()
    if tail == "lognormal":
        data["a"] = random.lognormal(0, 2, len(data))
    elif tail == "zeros":
        data["a"] = np.where(random.random(len(data)) < 0.01, 5000.0, 0.0)
    else:
        data.loc[:99, "a"] = 1e9
    (column, *_) = (dataset := read(data, target="y")).contract.columns
    assert (column.low, column.high) == (data["a"].min(), data["a"].max())
    assert dataset.rows == len(data)


def test_images_are_read_with_their_spreads(tmp_path):
    random = np.random.default_rng(5)
    for number in range(60):
        label = "ab"[number % 2]
        (tmp_path / label).mkdir(exist_ok=True)
        pixels = random.integers(0, 100 + 100 * (label == "b"), (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    contract = read(tmp_path).contract
    assert contract.image.spread.pixels.shares == (0, 1, 0)
    assert contract.image.spread.gray == 0
    assert 40 < contract.image.spread.brightness.edges[0] < 60
    assert contract.target.spread.shares == (0.5, 0.5)
