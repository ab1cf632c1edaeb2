"""A runtime that crashes on a model takes neither this process nor the other models with it."""

import os

import pytest

from secateur.cost.apart import race_apart
from secateur.errors import ModelError, SecateurError

# A runtime of the name, which ends its process on some models.
CRASHES = """
import os

class Core:
    def read_model(self, path):
        return Model(open(path).read())

    def compile_model(self, model, device, options):
        return model

class Model:
    inputs = ()

    def __init__(self, told):
        self.told = told

    def reshape(self, shapes):
        pass

    def create_infer_request(self):
        return self

    def infer(self, feed, share_inputs):
        if self.told == "crash":
            os.abort()
        return {}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text(CRASHES)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    found = {name: tmp_path / name for name in ("one", "two", "three")}
    for name, file in found.items():
        file.write_text("crash" if name == "two" else "run")
    return found


def test_the_model_that_crashes_is_named(files):
    with pytest.raises(ModelError, match="two: OpenVINO crashes on the model at a batch of 3"):
        race_apart(files, runtime="openvino", batch=3, seconds=0.01)
    del files["two"]
    times = race_apart(files, runtime="openvino", batch=3, seconds=0.01)
    assert set(times) == {"one", "three"}
    assert all(each.batch == 3 and each.runs >= 20 for each in times.values())


def test_what_the_other_process_refuses_is_told_here(tmp_path):
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(SecateurError, match="cannot"):
        race_apart({"a": tmp_path / "none.onnx"}, runtime="onnxruntime", batch=1, seconds=0.01)
