"""Features: the output of an inner layer, exported and scored into a column."""

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.errors import ModelError
from secateur.formats.features import feature_model
from secateur.formats.onnx import export
from secateur.formats.predictor import Predictor
from secateur.scoring.score import score


def photo_model():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(6, 3, activation="relu", name="maps")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(x))


def test_maps_are_averaged_and_the_model_stays_as_it_was():
    model = photo_model()
    before = [np.copy(each) for each in model.get_weights()]
    nodes = len(model.get_layer("pool")._outbound_nodes)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    pooled = np.asarray(feature_model(model, "pool")(x))
    np.testing.assert_allclose(np.asarray(feature_model(model, "maps")(x)), pooled, atol=1e-6)
    assert pooled.shape == (5, 6)
    assert len(model.get_layer("pool")._outbound_nodes) == nodes
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no layer 'pol'") as told:
        feature_model(photo_model(), "pol")
    assert told.value.mend == "Did you mean 'pool'?"


def test_photos_are_scored_into_vectors(photos, tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        (tmp_path / "photos" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(tmp_path / "photos" / "a" / f"{number}.png")
    (tmp_path / "photos" / "a" / "broken.png").write_bytes(b"no image")
    model = photo_model()
    made = export(model, tmp_path / "artifact", contract=photos, features="pool")
    assert made.manifest.output == "features"
    tally = score(made, tmp_path / "photos", tmp_path / "scored")
    assert (tally.scored, tally.quarantined) == (4, 1)
    table = pq.read_table(sorted((tmp_path / "scored").glob("part-*.parquet")))
    assert "prediction" not in table.column_names
    vectors = np.array(table["embedding"].to_pylist(), "float32")
    expected = np.asarray(feature_model(model, "pool")(pixels.astype("float32")))
    np.testing.assert_allclose(vectors, expected, rtol=1e-4)
    np.testing.assert_allclose(Predictor(made).predict(pixels), expected, rtol=1e-4)
