"""A folder of images becomes a dataset; what cannot be decoded is left out and named."""

import numpy as np
import pytest
from PIL import Image

from secateur.data.read import read
from secateur.errors import DataError


def folder(root, classes=("cat", "dog"), count=10, size=(16, 16), mode="RGB"):
    rng = np.random.default_rng(0)
    for code, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = rng.integers(0, 100, shape, np.uint8) + np.uint8(100 * code)
            Image.fromarray(pixels).save(root / name / f"p{i % 4}_{i}.png")
    return root


def test_classes_splits_and_pixels(tmp_path):
    dataset = read(folder(tmp_path / "d"))
    assert dataset.contract.classes == ("cat", "dog")
    assert dataset.contract.inputs() == {"image": ((16, 16, 3), "uint8")}
    assert [dataset.split(n).rows for n in ("train", "validation", "test")] == [12, 4, 4]
    assert dataset.test.class_counts() == {"cat": 2, "dog": 2}
    x, y = dataset.train.sample(100)
    assert (x.mean(axis=(1, 2, 3)) > 99.5).astype(int).tolist() == y.tolist()
    first = dataset.train.rows_as_dicts([0])[0]["file"]
    assert first.startswith(dataset.contract.classes[y[0]] + "/")
    assert dataset.train.raw(0).shape == (16, 16, 3)
    assert read(tmp_path / "d").fingerprint == dataset.fingerprint


def test_pixels_are_the_same_where_they_do_not_fit_in_memory(tmp_path):
    root = folder(tmp_path / "d")
    held, decoded = read(root), read(root, cache_bytes=0)
    assert held.fingerprint == decoded.fingerprint
    for (x, y), (other_x, other_y) in zip(
        held.train.batches(5, shuffle=True), decoded.train.batches(5, shuffle=True), strict=True
    ):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((16, 16), (16, 16)), ((28, 28), (28, 28)), ((400, 200), (64, 128)), ((5, 300), (128, 8))],
)
def test_the_size_is_learned(tmp_path, size, expected):
    spec = read(folder(tmp_path / "d", size=size)).contract.image
    assert (spec.height, spec.width) == expected


def test_size_mode_and_rule_may_be_given(tmp_path):
    root = folder(tmp_path / "d")
    spec = read(root, image_size=[8, 24], mode="L", resize="crop").contract.image
    assert (spec.shape, spec.resize) == ((8, 24, 1), "crop")
    gray = folder(tmp_path / "g", mode="L")
    assert read(gray).contract.image.mode == "L"


def test_class_names_and_numbers_in_order(tmp_path):
    root = folder(tmp_path / "d", classes=("10", "9", "1"))
    assert read(root).contract.classes == ("1", "9", "10")
    named = read(root, class_names={"9": "nine"}, target="digit").contract
    assert named.classes == ("1", "nine", "10")
    assert named.target.name == "digit"


def test_a_group_in_the_path_stays_together(tmp_path):
    dataset = read(folder(tmp_path / "d", count=12), group=r"/(p\d+)_")
    people = [
        {row["file"].split("/")[1][:2] for row in split.rows_as_dicts(range(split.rows))}
        for split in (dataset.train, dataset.validation, dataset.test)
    ]
    assert sum(map(len, people)) == 4
    with pytest.raises(DataError, match=r"`group` 'q\(.\)' does not match 20 of 20 paths"):
        read(folder(tmp_path / "e"), group="q(.)")
    with pytest.raises(DataError, match="no regular expression"):
        read(tmp_path / "e", group="(")


def test_broken_files_are_left_out_and_named(tmp_path):
    root = folder(tmp_path / "d")
    (root / "cat" / "broken.png").write_bytes(b"no image")
    whole = (root / "cat" / "p0_0.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "stray.png").write_bytes(whole)
    dataset = read(root)
    assert dataset.rows == 20
    notes = "\n".join(dataset.notes)
    assert "2 unreadable images left out (first: cat/broken.png: the image cannot be" in notes
    assert "1 image outside class folders left out" in notes


def test_copies_are_noted_and_kept_in_one_split(tmp_path):
    root = folder(tmp_path / "d")
    (root / "dog" / "copy.png").write_bytes((root / "dog" / "p0_0.png").read_bytes())
    for seed in range(8):
        dataset = read(root, seed=seed)
        assert dataset.notes == ("1 image with the content of another, kept in one split",)
        here = [
            {each["file"] for each in split.rows_as_dicts(range(split.rows))}
            & {"dog/copy.png", "dog/p0_0.png"}
            for split in (dataset.train, dataset.validation, dataset.test)
        ]
        assert sorted(map(len, here)) == [0, 0, 2]


def test_a_known_contract(tmp_path):
    contract = read(folder(tmp_path / "d"), image_size=(8, 8)).contract
    other = folder(tmp_path / "e", size=(30, 20))
    assert read(other, contract=contract).contract == contract
    (other / "dog").rename(other / "cow")
    with pytest.raises(DataError, match=r"the folder 'cow' is no class of the contract \(cat, dog"):
        read(other, contract=contract)


def test_folders_that_cannot_be_read_are_named(tmp_path):
    root = folder(tmp_path / "one", classes=("cat",))
    with pytest.raises(DataError, match="one class, 'cat'"):
        read(root)
    (root / "dog").mkdir()
    with pytest.raises(DataError, match="the class folder 'dog' holds no image"):
        read(root)
    with pytest.raises(DataError, match="no class folders"):
        read(root / "cat")
    with pytest.raises(DataError, match="look like splits"):
        read(folder(tmp_path / "splits", classes=("train", "test")))
    with pytest.raises(DataError, match="split is empty: 2 usable rows"):
        read(folder(tmp_path / "few", count=1))
    broken = folder(tmp_path / "broken")
    for path in broken.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 20 images can be read"):
        read(broken)
    with pytest.raises(DataError, match=r"p0_0.png: none of the 20 images can be read"):
        read(broken, image_size=(8, 8), mode="L")
    for name in ("cat", "dog"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="the folder is empty"):
        read(tmp_path / "empty")
