"""Changes to samples are small, decided by seed and key, and leave shape and type as they are."""

import numpy as np
import pytest

from secateur.data.augment import augmentation
from secateur.errors import DataError

RNG = np.random.default_rng(0)
STILL = {"rotate": 0, "shift": 0, "zoom": 0, "contrast": 0}


def images(channels=3, dtype="uint8"):
    """Return images of one bright square on gray."""
    x = np.full((8, 20, 30, channels), 100, dtype)
    x[:, 8:12, 10:20] = 200
    return x


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_keep_shape_type_and_range(channels, dtype):
    x = images(channels, dtype)
    before = x.copy()
    out = augmentation("image", flip=True, noise=0.1)(x)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(x, before)
    assert (out != x).any()
    assert 60 < out.mean() < 160


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_no_change_asked_is_no_change(dtype):
    x = RNG.integers(0, 255, (4, 9, 7, 3)).astype(dtype)
    np.testing.assert_array_equal(augmentation("image", **STILL)(x), x)
    tiny = augmentation("image", **{**STILL, "zoom": 1e-9})(x).astype(float)
    np.testing.assert_allclose(tiny, x, atol=1.01)


def test_the_key_decides():
    x, change = images(), augmentation("image", seed=1)
    np.testing.assert_array_equal(change(x, key=(1, 2)), change(x, key=(1, 2)))
    assert (change(x, key=(1, 2)) != change(x, key=(1, 3))).any()
    assert (change(x, key=(1, 2)) != augmentation("image", seed=2)(x, key=(1, 2))).any()
    fresh = augmentation("image", seed=1)
    first, second = fresh(x), fresh(x)
    assert (first != second).any()
    np.testing.assert_array_equal(augmentation("image", seed=1)(x), first)


def test_flip_exchanges_left_and_right_of_some():
    x = RNG.integers(0, 255, (64, 6, 6, 1)).astype("uint8")
    out = augmentation("image", flip=True, **STILL)(x)
    same = (out == x).all(axis=(1, 2, 3))
    turned = (out == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | turned).all()
    assert 10 < turned.sum() < 54


def test_a_moved_image_has_no_black_border():
    x = np.full((16, 12, 12, 3), 250, np.uint8)
    out = augmentation("image", rotate=0.1, shift=0.2, zoom=0.2, contrast=0)(x)
    assert out.min() >= 249


def test_shift_moves_by_no_more_than_asked():
    out = augmentation("image", **{**STILL, "shift": 0.1})(images())
    rows, columns = np.nonzero(out[..., 0].max(axis=0) > 110)
    assert rows.min() >= 8 - 3
    assert rows.max() <= 11 + 3
    assert columns.min() >= 10 - 4
    assert columns.max() <= 19 + 4


def test_sequences_and_tables():
    x = RNG.normal(size=(16, 20, 2)).astype("float32")
    out = augmentation("sequence", shift=0.2)(x)
    assert (out.shape, out.dtype) == (x.shape, np.float32)
    assert (out != x).any()
    table = {"numeric": RNG.normal(size=(50, 3)).astype("float32"), "categorical": np.ones((50, 1))}
    table["numeric"][:, 2] = RNG.integers(0, 2, 50)
    assert augmentation("table")(table)["numeric"] is table["numeric"]
    noisy = augmentation("table", noise=0.1)(table)
    assert noisy["categorical"] is table["categorical"]
    gap = noisy["numeric"] - table["numeric"]
    assert (gap[:, 2] == 0).all()
    assert 0.05 < gap[:, :2].std() < 0.2


@pytest.mark.parametrize("name", ["rotate", "shift", "zoom", "contrast", "noise"])
@pytest.mark.parametrize("amount", [-0.1, 1, float("nan")])
def test_amounts_out_of_range(name, amount):
    with pytest.raises(DataError, match=f"`{name}` is from 0 to below 1"):
        augmentation("image", **{name: amount})
