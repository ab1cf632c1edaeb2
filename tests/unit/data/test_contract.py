"""A contract is plain data: it survives JSON, and says what a model's inputs are."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    ImageSpec,
    ListColumn,
    NumericColumn,
    Target,
    describe_number,
    iso_to_us,
    us_to_iso,
)
from secateur.errors import ContractError, DataError

NUMBERS = st.floats(-1e12, 1e12)


@st.composite
def contracts(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
    columns = []
    for name in names:
        nullable = draw(st.booleans())
        low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
        columns.append(
            draw(
                st.sampled_from(
                    [
                        NumericColumn(
                            name=name, nullable=nullable, mean=low, std=1, low=low, high=high
                        ),
                        CategoricalColumn(name=name, nullable=nullable, vocabulary=("a", "é")),
                        BooleanColumn(name=name, nullable=nullable),
                        DatetimeColumn(
                            name=name, nullable=nullable, low="2020-01-01", high="2021-01-01"
                        ),
                    ]
                )
            )
        )
    target = draw(
        st.sampled_from(
            [
                None,
                Target(name="y", classes=("a", "b")),
                Target(name="y"),
                Target(name="y", above=1.5),
            ]
        )
    )
    return Contract(kind="table", columns=tuple(columns), target=target, keys=("k",))


@given(contracts())
def test_json_round_trip(contract):
    again = Contract.model_validate_json(contract.model_dump_json())
    assert again == contract
    assert again.fingerprint() == contract.fingerprint()


@given(contracts())
def test_inputs_features_and_moments_agree(contract):
    width = len(contract.features())
    mean, variance = contract.moments()
    assert mean.shape == variance.shape == (width,)
    assert mean.dtype == variance.dtype == np.float32
    assert (variance > 0).all()
    inputs = contract.inputs()
    assert inputs.get("numeric", ((0,), ""))[0] == (width,)
    assert inputs.get("categorical", ((0,), ""))[0] == (len(contract.categorical()),)


def test_file_round_trip_and_a_changed_contract_has_another_fingerprint(tmp_path):
    contract = Contract(
        kind="sequence",
        columns=(ListColumn(name="s", length=4, mean=(0,) * 4, std=(1,) * 4, low=-1, high=1),),
        shape=(2, 2),
        target=Target(name="y", classes=("0", "1"), labels=("no", "yes")),
    )
    path = contract.save(tmp_path / "contract.json")
    assert Contract.load(path) == contract
    other = contract.model_copy(update={"shape": (4, 1)})
    assert other.fingerprint() != contract.fingerprint()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "not a contract"),
        ("{", "not a contract"),
        ("[]", "not a contract"),
        ('{"kind": "cube"}', "kind"),
        ('{"kind": "table", "version": 99}', "newer"),
        ('{"kind": "image"}', "needs `image`"),
        ('{"kind": "array"}', "needs `shape`"),
        ('{"kind": "table", "colums": []}', "colums"),
    ],
)
def test_a_bad_file_is_a_contract_error(tmp_path, text, message):
    path = tmp_path / "contract.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ContractError, match=message) as caught:
        Contract.load(path)
    assert caught.value.where == str(path)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        NumericColumn(name="x", low=0, high=float("inf"))


def test_task_and_classes():
    table = Contract(kind="table", target=Target(name="y", classes=("a", "b")))
    assert (table.task, table.classes) == ("classification", ("a", "b"))
    table = Contract(kind="table", target=Target(name="y"))
    assert (table.task, table.classes) == ("regression", ())


def test_inputs_of_each_kind():
    spec = ImageSpec(height=8, width=16, mode="L")
    assert Contract(kind="image", image=spec).inputs() == {"image": ((8, 16, 1), "uint8")}
    array = Contract(kind="array", shape=(3, 4), dtype="uint8")
    assert array.inputs() == {"array": ((3, 4), "uint8")}
    words = CategoricalColumn(name="c", vocabulary=("a",))
    assert Contract(kind="table", columns=(words,)).inputs() == {"categorical": ((1,), "int32")}


def test_moments_of_a_sequence_are_those_of_all_steps_of_a_channel():
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 2, (500, 4, 2))
    flat = samples.reshape(500, -1)
    columns = tuple(
        NumericColumn(name=str(i), mean=c.mean(), std=c.std(), low=c.min(), high=c.max())
        for i, c in enumerate(flat.T)
    )
    mean, variance = Contract(kind="sequence", columns=columns, shape=(4, 2)).moments()
    np.testing.assert_allclose(mean, samples.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(variance, samples.var(axis=(0, 1)), rtol=1e-5)


def test_a_constant_has_variance_one():
    column = NumericColumn(name="x", mean=7, std=0, low=7, high=7)
    assert Contract(kind="table", columns=(column,)).moments()[1].tolist() == [1]


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_moments_in_time_survive_iso(micro):
    assert iso_to_us(us_to_iso(micro)) == micro


def test_describe_number():
    assert [describe_number(x) for x in (15.0, 0.5, -3.0, 1e30)] == ["15", "0.5", "-3", "1e+30"]


def test_the_json_is_plain(tmp_path):
    column = NumericColumn(name="x", low=0, high=1)
    path = Contract(kind="table", columns=(column,)).save(tmp_path / "c.json")
    assert json.loads(path.read_text())["columns"][0]["kind"] == "numeric"
    assert issubclass(ContractError, DataError)
