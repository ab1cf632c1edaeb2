from types import SimpleNamespace

import numpy as np
import pytest

from secateur.errors import ArtifactError, ModelError
from secateur.formats.grids import Quantization
from secateur.job import run as module
from secateur.recipe.recipe import Recipe


class Folder:
    def get(self, name, default=None):
        return Quantization().to_json()


def job():
    made = object.__new__(module._Job)
    made.recipe = Recipe.model_validate(
        {"name": "x", "data": {"source": "x.csv"}, "steps": [{"quantize": {}}]}
    )
    made.folder, made.notes, made.warnings, made.say = Folder(), [], [], lambda line: None
    return made


@pytest.mark.parametrize("at", ["worth", "export"])
def test_integers_that_go_wrong_at_the_end_leave_float32(at, monkeypatch, tmp_path):
    def worth(*args, **options):
        if at == "worth":
            raise ModelError("a weight is not to be found.")
        return SimpleNamespace(pays=True)

    def export(*args, quantization, **options):
        if quantization is not None:
            raise ArtifactError("the int8 file gives other answers.")
        return "float32"

    monkeypatch.setattr(module, "worth", worth)
    monkeypatch.setattr(module, "export", export)
    test = SimpleNamespace(sample=lambda rows, seed: (np.zeros((rows, 2)), None))
    data = SimpleNamespace(contract=None, test=test, fingerprint="")
    stage = SimpleNamespace(metrics=None, parameters=1, macs=1, bytes=1)
    made = job()
    assert made.export(None, tmp_path / "a", "x", data, stage, final=True) == "float32"
    assert "Float32 is exported" in made.warnings[0]
