"""Model files as found in public repositories, with the data that they were trained for."""

import numpy as np
import pytest
from PIL import Image

from secateur.graph.trace import trace
from secateur.models.load import load_model, load_model_with_notes


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vww_96.h5", "groups of 13 DepthwiseConv2D"),
        ("str_ww_ref_model.h5", "groups of 4 DepthwiseConv2D"),
        ("keypoint_classifier.hdf5", None),
        ("model-bw_dru.json", "weights from model-bw_dru.h5"),
        ("model-bw_dru.h5", "architecture from model-bw_dru.json"),
    ],
)
def test_files_of_an_older_keras_load_and_trace(shared_data, name, said):
    model, notes = load_model_with_notes(shared_data / "legacy_h5" / name)
    x = np.random.default_rng(0).random((2, *model.input_shape[1:]), "float32")
    assert np.isfinite(model.predict(x, verbose=0)).all()
    assert said in " ".join(notes) if said else notes == ()
    assert trace(model).groups


def test_the_hand_landmark_model_scores_as_it_did(shared_data):
    model = load_model(shared_data / "legacy_h5" / "keypoint_classifier.hdf5")
    rows = np.loadtxt(shared_data / "hand_landmarks" / "keypoint.csv", "float32", delimiter=",")
    found = model.predict(rows[:, 1:], batch_size=512, verbose=0).argmax(axis=1)
    assert (found == rows[:, 0]).mean() == pytest.approx(0.965, abs=0.002)


def test_the_letter_model_scores_as_it_did(shared_data):
    model = load_model(shared_data / "legacy_h5" / "model-bw_dru.json")
    for index, letter in enumerate("DRU"):
        paths = sorted((shared_data / "asl_letters" / letter).glob("*.jpg"))[:40]
        photos = [
            np.asarray(Image.open(path).convert("L").resize((128, 128), Image.Resampling.NEAREST))
            for path in paths
        ]
        found = model.predict(np.stack(photos)[..., None].astype("float32"), verbose=0)
        assert (found.argmax(axis=1) == index).mean() > 0.97
