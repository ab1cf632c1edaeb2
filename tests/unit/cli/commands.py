"""What tests of several commands share."""

import json

from secateur.cli.promises import TOLD

RECIPE = """\
name: shades
data: {source: photos, image_size: [8, 8], mode: L, split: [0.5, 0.25, 0.25]}
model: {width: 8}
train: {epochs: 1}
measure: {batches: [1], seconds: 0.1}
"""


def one_line(err: str) -> str:
    assert err.count("error: ") == 1, err
    assert "Traceback" not in err
    (line,) = [each for each in err.splitlines() if each.startswith("error: ")]
    return line


def is_told(name: str, code: int, out: str, err: str) -> dict:
    """Hold what a command printed against what is promised of it; no key may be unknown."""
    assert code == 0, err
    TOLD[name].model_validate_json(out)
    return json.loads(out)
