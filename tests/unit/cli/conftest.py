"""Commands in this process, and small real files for them."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from secateur.cli import main


@pytest.fixture
def secateur(capfd, monkeypatch, tmp_path):
    """Return a function that runs a command in an empty folder: its code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        told = capfd.readouterr()
        return caught.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def photos(tmp_path) -> Path:
    random = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 190)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(16):
            pixels = random.normal(shade, 20, (8, 8)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path) -> Path:
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.ReLU()(layers.Conv2D(16, 3, name="conv")(x))
    x = layers.ReLU()(layers.Conv2D(16, 3, name="conv2")(x))
    x = layers.GlobalAveragePooling2D()(x)
    made = keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="small")
    made.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"
