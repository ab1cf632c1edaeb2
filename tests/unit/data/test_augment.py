"""Changes to samples are small, decided by seed and key, and leave shape and type as they are."""

import numpy as np
import pytest
from PIL import Image

from secateur.data.augment import augmentation
from secateur.data.randaugment import OPERATIONS
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


def test_top_and_bottom_of_some_are_exchanged():
    x = RNG.integers(0, 255, (64, 6, 6, 1)).astype("uint8")
    out = augmentation("image", vertical_flip=True, **STILL)(x)
    same = (out == x).all(axis=(1, 2, 3))
    turned = (out == x[:, ::-1]).all(axis=(1, 2, 3))
    assert (same | turned).all()
    assert 10 < turned.sum() < 54


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_gives_each_image_operations_of_its_own(channels):
    x = np.repeat(RNG.integers(0, 255, (1, 16, 20, channels)), 32, axis=0).astype("uint8")
    change = augmentation("image", rand_augment=2, **STILL)
    out = change(x, key=(1,))
    assert (out.shape, out.dtype) == (x.shape, np.uint8)
    assert len({image.tobytes() for image in out}) > 16
    np.testing.assert_array_equal(change(x, key=(1,)), out)
    assert (change(x, key=(2,)) != out).any()
    with pytest.raises(DataError, match="for images of bytes, not for float32"):
        change(x.astype("float32"), key=(1,))


@pytest.mark.parametrize("place", range(len(OPERATIONS)))
def test_each_operation_grows_from_nothing(place):
    x = Image.fromarray(RNG.integers(0, 255, (16, 20, 3)).astype("uint8"))
    operation = OPERATIONS[place]
    out = [np.asarray(operation(x, strength)).astype(float) for strength in (0.0, 0.3, -0.3, 1.0)]
    assert all(each.shape == (16, 20, 3) for each in out)
    if place not in (1, 2):
        np.testing.assert_allclose(out[0], np.asarray(x), atol=1)


def shares(x, n):
    """Return which of n constant samples each is made of, and in which shares."""
    return np.stack([(x == i).mean(axis=tuple(range(1, x.ndim))) for i in range(n)], axis=1)


def test_cutmix_mixes_labels_as_it_mixes_pixels():
    x = np.broadcast_to(np.arange(12).reshape(-1, 1, 1, 1), (12, 9, 7, 3)).astype("uint8")
    y = np.eye(12, dtype="float32")
    change = augmentation("image", cutmix=1.0, **STILL)
    assert change.mixes
    mixed, labels, weights = change.mixed(x, y, None, key=(0, 1))
    assert weights is None
    np.testing.assert_allclose(labels, shares(mixed, 12), atol=1e-5)
    assert (labels.max(axis=1) < 0.999).any()
    again = change.mixed(x, y, None, key=(0, 1))
    np.testing.assert_array_equal(again[0], mixed)
    with pytest.raises(DataError, match="`cutmix` is for images"):
        augmentation("array", cutmix=1.0).mixed(np.ones((4, 5)), y[:4], None, key=(0,))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_mixup_mixes_labels_and_weights_as_it_mixes_samples(dtype):
    x = np.broadcast_to(np.arange(0, 200, 10).reshape(-1, 1, 1), (20, 5, 2)).astype(dtype)
    y = np.arange(0, 200, 10).astype("float32")
    change = augmentation("sequence", mixup=0.4)
    mixed, labels, weights = change.mixed(x, y, y + 1, key=(3,))
    assert mixed.dtype == x.dtype
    np.testing.assert_allclose(labels, mixed[:, 0, 0], atol=0.51 if dtype == "uint8" else 1e-3)
    np.testing.assert_allclose(weights, labels + 1, atol=1e-3)
    assert (labels != y).any()


def test_warp_keeps_the_ends_and_the_order_of_time():
    steps = np.linspace(0, 1, 40, dtype="float32")
    x = np.tile(steps[None, :, None], (16, 1, 2))
    out = augmentation("sequence", **STILL, warp=0.5)(x)
    np.testing.assert_allclose(out[:, [0, -1]], x[:, [0, -1]], atol=1e-5)
    assert (np.diff(out, axis=1) > 0).all()
    assert 0.01 < np.abs(out - x).max() < 0.4


def test_swapped_cells_are_values_of_the_same_column():
    table = {
        "numeric": np.arange(300, dtype="float32").reshape(100, 3),
        "categorical": np.arange(200, dtype="int32").reshape(100, 2),
    }
    out = augmentation("table", swap=0.2)(table)
    for name, before in table.items():
        assert out[name].dtype == before.dtype
        assert (out[name] % before.shape[1] == before % before.shape[1]).all()
        assert 0.1 < (out[name] != before).mean() < 0.3


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("table", "mixup", 0.2), ("image", "swap", 0.1), ("sequence", "cutmix", 1.0),
     ("table", "rand_augment", 2), ("image", "warp", 0.1), ("table", "vertical_flip", True)],
)  # fmt: skip
def test_what_is_for_another_kind_of_data_is_refused(kind, name, value):
    with pytest.raises(DataError, match=f"`{name}` is for .*, and this is {kind}"):
        augmentation(kind, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mixup", -1),
        ("cutmix", float("inf")),
        ("strength", 1.5),
        ("rand_augment", 1.5),
        ("swap", 1),
    ],
)
def test_strong_amounts_out_of_range(name, value):
    with pytest.raises(DataError, match=f"`{name}` is "):
        augmentation("image", **{name: value})


@pytest.mark.parametrize("options", [{"flip": True}, {"rotate": 0.1}, {"zoom": 0.2}])
def test_what_is_asked_for_is_not_left_out_without_a_word(options):
    with pytest.raises(DataError, match=f"`{next(iter(options))}` is for image"):
        augmentation("table", **options)
