"""A contract is edited as YAML; what older versions wrote is read, and keeps its fingerprint."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    ImageSpec,
    NumericColumn,
    Target,
)
from secateur.data.encode import encode
from secateur.data.faults import check
from secateur.data.spread import Spread
from secateur.data.texts import from_yaml, to_yaml
from secateur.errors import ContractError

OLD = {
    "version": 1,
    "kind": "table",
    "columns": [
        {"kind": "numeric", "name": "x", "nullable": False, "mean": 0.0, "std": 1.0, "low": 0.0,
         "high": 1.0, "integer": False},
        {"kind": "categorical", "name": "c", "nullable": False,
         "vocabulary": ["no", "null", "", "01", "2020-01-01", "é"]},
    ],
    "image": None, "shape": None, "dtype": "float32",
    "target": {"name": "y", "classes": ["0", "1"], "above": None, "labels": None},
    "keys": [], "fields": None,
}  # fmt: skip
OLD_FINGERPRINT = "a88cd4a900dcd185f049318ce118edc8a2f9bd89ab45da9e821c45895482bb1d"
TREES = st.recursive(
    st.one_of(st.text(), st.none(), st.sampled_from(["no", "1", "~", "null", "- a", "a: b", "#"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
def test_text_comes_back_as_text(tree):
    assert from_yaml(to_yaml(tree).encode()) == tree


def test_contract_of_an_older_version_keeps_its_fingerprint(tmp_path):
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(OLD))
    contract = Contract.load(path)
    assert contract.fingerprint() == OLD_FINGERPRINT
    assert contract.model_dump(mode="json") == OLD
    spread = Spread(rows=10, shares=(1.0,))
    column = contract.columns[0].model_copy(update={"spread": spread})
    learned = contract.model_copy(update={"columns": (column, contract.columns[1])})
    assert learned.fingerprint() == OLD_FINGERPRINT
    assert learned != contract
    column = contract.columns[0].model_copy(update={"margin": 0.5})
    changed = contract.model_copy(update={"columns": (column, contract.columns[1])})
    assert changed.fingerprint() != OLD_FINGERPRINT


def test_yaml_round_trip(tmp_path):
    contract = Contract.model_validate(OLD)
    path = contract.save(tmp_path / "contract.yaml")
    assert Contract.load(path) == contract
    text = path.read_text()
    assert "- name: x\n  kind: numeric\n" in text
    assert "vocabulary: ['no', 'null', '', '01', '2020-01-01', é]" in text
    image = Contract(kind="image", image=ImageSpec(height=8, width=8), keys=())
    assert Contract.load(image.save(tmp_path / "image.yml")) == image


def test_a_person_edits_it(tmp_path):
    path = tmp_path / "contract.yaml"
    path.write_text(
        """
version: 1
kind: table
columns:
- {name: height, kind: numeric, low: 150, high: 200, margin: 0.1, unit: cm, gaps: fill, mean: 175}
- name: answer
  kind: categorical
  nullable: true
  gaps: quarantine
  vocabulary: [no, yes, 01, 2020-01-01]
- {name: smokes, kind: boolean}
target: {name: y, classes: [0, 1]}
"""
    )
    contract = Contract.load(path)
    assert contract.columns[1].vocabulary == ("no", "yes", "01", "2020-01-01")
    assert contract.target.classes == ("0", "1")
    table = pa.table(
        {
            "height": [170.0, None, 204.9, 205.1],
            "answer": ["no", "01", None, "maybe"],
            "smokes": [True, False, True, None],
        }
    )
    assert check(contract, table).reasons == [
        (2, "column answer: the value is missing, and the contract allows none"),
        (
            3,
            "column height: 205.1 is out of range (150 to 200 was seen in training); "
            "column smokes: the value is missing, and the training data had none missing",
        ),
    ]
    encoded = encode(contract, table.slice(0, 2))
    np.testing.assert_array_equal(encoded["numeric"], [[170, 1], [175, 0]])
    np.testing.assert_array_equal(encoded["categorical"], [[1], [3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 documents"),
        ("{", "line 2: did not find"),
        ("kind: table\nkind: image", "the key 'kind' stands twice"),
        ("a: &x [1]\nb: *x", "line 1: anchors are not read"),
        ("kind: !!python/object:os.system table", "the tag .* is not read"),
        ("[" * 100_000, "line 1: (more than 50 levels|exceeded max)"),
        ("kind: table\ncolums: []", "colums"),
        ("kind: table\ncolumns: [{kind: numeric, name: x, low: a, high: 1}]", "0.numeric.low"),
        ("kind: table\ncolumns: [{kind: numeric, name: x, low: 0, high: .inf}]", "high"),
        ("kind: table\ncolumns: [{kind: categorical, name: x, vocabulary: [~]}]", "vocabulary.0"),
        ("a: b\x00", "control characters|special characters"),
    ],
)  # fmt: skip
def test_a_bad_edit_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=message) as caught:
        Contract.load(path)
    assert caught.value.where == str(path)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "contract.yaml"
    path.write_bytes(b"kind: t\xff\xfeable")
    with pytest.raises(ContractError, match="not a contract"):
        Contract.load(path)


def test_kinds_have_their_defaults():
    assert NumericColumn(name="x", low=0, high=1).limits == (-1, 2)
    assert NumericColumn(name="x", low=0, high=1, margin=0).limits == (0, 1)
    assert not BooleanColumn(name="x").fills
    assert CategoricalColumn(name="x", vocabulary=("a",), nullable=True).fills
    assert Target(name="y").spread is None


def test_the_example_of_the_documentation_is_a_contract(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "checking.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "contract.yaml"
    path.write_text(example, encoding="utf-8")
    contract = Contract.load(path)
    assert contract.columns[0].spread.rows == 3000
    assert contract.classes == ("no", "yes")
    assert Contract.load(contract.save(tmp_path / "again.yaml")) == contract
