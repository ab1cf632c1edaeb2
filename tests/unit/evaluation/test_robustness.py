"""What changed for whom: slices, intervals, corruptions, calibration."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from secateur.data.contract import Contract
from secateur.data.groups import groups_of
from secateur.data.read import read
from secateur.errors import ContractError, DataError
from secateur.evaluation.calibration import calibration
from secateur.evaluation.corruptions import corruptions, missing, noise, shifted
from secateur.evaluation.robustness import paired_interval, robustness


@pytest.fixture(scope="module")
def shop():
    random = np.random.default_rng(0)
    rows = 3000
    table = pd.DataFrame(
        {
            "id": np.arange(rows),
            "size": random.normal(10, 3, rows),
            "weight": random.normal(0, 1, rows),
            "colour": random.choice(["red", "green", "blue"], rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, rows), "D"),
            "city": random.choice(["Linz", "Graz", None], rows),
        }
    )
    table.loc[::7, "weight"] = np.nan
    table["big"] = np.where(table["size"] > 10, "yes", "no")
    return read(table, target="big", keys=["id"], ignore=["city"])


def answers(truth, classes, wrong=()):
    """Return probabilities that are right but for some rows."""
    said = truth.copy()
    said[list(wrong)] = (said[list(wrong)] + 1) % classes
    return np.eye(classes)[said] * 0.8 + 0.1


def test_a_class_that_loses_is_flagged_and_the_others_are_not(shop):
    truth = shop.test.labels()
    lost = np.flatnonzero(truth == 1)[:60]
    found = robustness(shop.test, truth, answers(truth, 2), answers(truth, 2, lost))
    no, yes = found.classes
    assert (no.name, no.before, no.after, no.flagged) == ("no", 1.0, 1.0, False)
    assert yes.flagged
    assert yes.after == pytest.approx(1 - 60 / yes.rows)
    assert yes.low < yes.after - yes.before < yes.high < 0
    assert found.conditions == ()


def test_a_loss_that_may_be_chance_is_not_flagged(shop):
    truth = shop.test.labels()
    few = np.flatnonzero(truth == 1)[:10]
    groups = {"ten": type(groups_of(shop.test, "city"))(("few", "rest"), np.ones(len(truth), int))}
    groups["ten"].codes[few] = 0
    # One row of ten is ten points, and nothing that could not have gone the other way.
    found = robustness(
        shop.test, truth, answers(truth, 2), answers(truth, 2, few[:1]), groups=groups
    )
    few_rows = found.groups["ten"][0]
    assert few_rows.before - few_rows.after == pytest.approx(0.1)
    assert not few_rows.flagged
    assert few_rows.low < 0 < few_rows.high


def test_an_interval_holds_the_true_difference_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        both = random.random(150)
        before, after = (both < 0.9).astype(float), (both < 0.9).astype(float)
        turned = random.random(150) < 0.1
        after[turned] = random.random(turned.sum()) < 0.5
        low, high = paired_interval(before, after)
        held += low <= 0.1 * (0.5 - 0.9) <= high
    assert 0.92 < held / 400 <= 0.99


def test_values_are_judged_by_how_far_they_are_off():
    x = np.random.default_rng(0).normal(size=(900, 3)).astype("float32")
    data = read((x, x.sum(axis=1)), target="sum")
    truth = data.test.labels()
    noisy = np.random.default_rng(1).normal(0, 0.1, len(truth))
    found = robustness(
        data.test,
        truth,
        truth + noisy,
        truth + 2 * noisy,
        groups=None,
        models=(lambda x: x.sum(axis=1), lambda x: 2 * x.sum(axis=1)),
        rows=100,
    )
    clean, *_ = found.conditions
    assert clean.name == "As they are"
    assert clean.rows == 100
    assert clean.before < 1e-5 < clean.after
    assert found.calibration is None
    assert all(one.flagged for one in found.conditions)


def test_the_same_seed_gives_the_same_figures(shop):
    truth = shop.test.labels()

    def model(x):
        size = x["numeric"][:, 0]
        yes = 1 / (1 + np.exp(10 - size))
        return np.stack([1 - yes, yes], axis=1)

    first, again, other = (
        robustness(
            shop.test,
            truth,
            answers(truth, 2),
            answers(truth, 2),
            models=(model, model),
            rows=200,
            seed=seed,
        )
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(first.conditions) == 5
    assert not any(one.flagged for one in first.conditions)


def test_taken_values_are_told_as_scoring_tells_them(shop):
    contract = shop.contract
    x = shop.test.take(np.arange(300))
    before = {name: array.copy() for name, array in x.items()}
    gone = missing(x, contract, np.random.default_rng(0), share=0.5)
    names = contract.features()
    weight, told = names.index("weight"), names.index("weight is missing")
    changed = gone["numeric"][:, weight] != x["numeric"][:, weight]
    assert 90 < changed.sum() < 200
    assert (gone["numeric"][changed, told] == 1).all()
    np.testing.assert_allclose(gone["numeric"][changed, weight], contract.moments()[0][weight])
    assert 90 < (gone["categorical"] == 0).sum() < 210
    for name, array in before.items():
        np.testing.assert_array_equal(array, x[name])


def test_a_shift_moves_numbers_alone_and_not_what_is_missing(shop):
    contract = shop.contract
    x = shop.test.take(np.arange(300))
    moved = shifted(x, contract, np.random.default_rng(0), deviations=0.5)
    names = contract.features()
    size, weight = names.index("size"), names.index("weight")
    told = x["numeric"][:, names.index("weight is missing")] == 1
    spread = np.sqrt(contract.moments()[1])
    steps = moved["numeric"] - x["numeric"]
    np.testing.assert_allclose(np.abs(steps[:, size]), spread[size] / 2, rtol=1e-3)
    assert (steps[told, weight] == 0).all()
    assert (np.abs(steps[~told, weight]) > 0).all()
    untouched = [place for place in range(len(names)) if place not in (size, weight)]
    assert (steps[:, untouched] == 0).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_photos_stay_photos(mode, channels):
    contract = Contract.model_validate(
        {"kind": "image", "image": {"height": 24, "width": 32, "mode": mode}}
    )
    pixels = np.random.default_rng(1).integers(0, 256, (2, 24, 32, channels), dtype=np.uint8)
    for name, corrupt in corruptions(contract).items():
        made = np.asarray(corrupt(pixels, contract, np.random.default_rng(0)))
        assert (made.shape, made.dtype) == (pixels.shape, np.uint8), name
        assert (made != pixels).any(), name
    assert np.abs(noise(pixels, contract, np.random.default_rng(0), share=0.0) - pixels).max() == 0


def test_a_sequence_gets_noise_by_channel():
    x = np.random.default_rng(0).normal(size=(60, 10, 2)).astype("float32") * [1, 100]
    data = read((x.astype("float32"), np.arange(60) % 2))
    kinds = corruptions(data.contract)
    small, large = (
        np.asarray(make(x.astype("float32"), data.contract, np.random.default_rng(0))) - x
        for make in kinds.values()
    )
    assert small.std(axis=(0, 1))[1] > 50 * small.std(axis=(0, 1))[0]
    assert large.std() > 2 * small.std()


def test_calibration_is_nil_where_confidence_is_what_it_says():
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 200_000)
    outputs = np.stack([sure, 1 - sure], axis=1)
    right = (random.random(len(sure)) < sure).astype(int)
    good = calibration(1 - right, outputs)
    assert good.error < 0.01
    assert sum(one.rows for one in good.bins) == len(sure)
    assert all(a.confidence < b.confidence for a, b in pairwise(good.bins))
    always = calibration(np.zeros(len(sure), int), outputs)
    assert always.error == pytest.approx(1 - sure.mean(), abs=1e-6)


def test_groups_are_words_or_quarters_and_what_is_missing(shop):
    cities = groups_of(shop.test, "city")
    assert set(cities.names) == {"Linz", "Graz", "missing"}
    assert len(cities.codes) == shop.test.rows
    raw = shop.test.rows_as_dicts(np.arange(50))
    colours = groups_of(shop.test, "colour")
    assert [colours.names[code] for code in colours.codes[:50]] == [one["colour"] for one in raw]
    sizes = groups_of(shop.test, "size")
    assert len(sizes.names) == 4
    assert np.bincount(sizes.codes).min() > shop.test.rows / 4 - 3
    ids = groups_of(shop.test, "big")
    np.testing.assert_array_equal(
        np.array([shop.contract.classes.index(ids.names[code]) for code in ids.codes]),
        shop.test.labels(),
    )


def test_a_column_that_is_not_there_is_told(shop):
    with pytest.raises(ContractError, match="did you mean 'colour'"):
        groups_of(shop.test, "color")
    arrays = read((np.zeros((30, 2)), np.arange(30) % 2))
    with pytest.raises(DataError, match="no columns"):
        groups_of(arrays.test, "x")


def test_photos_are_grouped_by_their_paths(tmp_path):
    for number in range(40):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        pixels = np.full((8, 8, 3), 5 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"person{number % 4}_{number}.png")
    data = read(tmp_path)
    people = groups_of(data.test, r"person(\d)")
    files = [one["file"] for one in data.test.rows_as_dicts(np.arange(data.test.rows))]
    named = [people.names[code] for code in people.codes]
    assert all(f"person{name}_" in file for name, file in zip(named, files, strict=True))
    with pytest.raises(DataError, match="matches none"):
        groups_of(data.test, "nobody")
    with pytest.raises(DataError, match="no regular expression"):
        groups_of(data.test, "(")
