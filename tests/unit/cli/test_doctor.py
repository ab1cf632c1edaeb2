"""`secateur doctor`: what it finds, and what it says of what is not there."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from secateur.cli import doctor
from unit.cli.commands import is_told, one_line


def test_a_fit_machine_has_no_problem(secateur):
    code, told, err = secateur("doctor")
    assert (code, err) == (0, "")
    assert f"keras             {metadata.version('keras')}".split() == next(
        line.split()[:2] for line in told.splitlines() if line.startswith("keras ")
    )
    assert "cores to use" in told


def test_json_tells_the_same(secateur):
    told = is_told("doctor", *secateur("doctor", "--json"))
    assert told["cores"] >= 1
    assert told["memory"] > 2**30
    assert "onnxruntime" in told["runtimes"]
    assert told["problems"] == []


def test_widths_are_measured_where_that_is_asked_for(secateur, monkeypatch):
    found = is_told("doctor", *secateur("doctor", "--widths", "--json"))
    assert set(found["widths"]) == set(found["runtimes"])
    assert {block for both in found["widths"].values() for block in both} <= {8, 16, 32}
    # Measured anew on a busy machine it may be another.
    monkeypatch.setattr(doctor, "measured_widths", lambda runtimes: {"litert": (8, 32)})
    _, told, err = secateur("doctor", "--widths")
    assert err == ""
    (line,) = [line for line in told.splitlines() if line.startswith("widths     litert")]
    assert "8 input and 32 output channels" in line
    assert line.endswith("round_to: 32")
    assert is_told("doctor", *secateur("doctor", "--json"))["widths"] is None


def test_what_is_missing_is_named_with_the_command_that_gets_it(secateur, monkeypatch):
    known = doctor._version

    def without(package):
        return None if package.module in ("tensorflow", "openvino") else known(package)

    monkeypatch.setattr(doctor, "_version", without)
    code, told, err = secateur("doctor")
    assert code == 2
    assert "pip install 'secateur[tensorflow]'" in one_line(err)
    assert "openvino" not in one_line(err)
    line = next(line for line in told.splitlines() if line.startswith("openvino is missing"))
    assert line.endswith("pip install 'secateur[openvino]'")


def test_a_small_container_is_told(monkeypatch, tmp_path, secateur):
    limit = tmp_path / "memory.max"
    limit.write_text(str(2**30))
    monkeypatch.setattr(doctor, "_LIMITS", (tmp_path / "none", limit))
    assert doctor.usable_memory() == 2**30
    assert "2 GiB" in one_line(secateur("doctor")[2])
    limit.write_text("max")
    assert (doctor.usable_memory() or 0) > 2**30


@pytest.mark.parametrize("package", doctor.PACKAGES, ids=lambda each: each.module)
def test_every_extra_that_is_named_exists(package):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    assert package.extra in {None, *project["project"]["optional-dependencies"]}


def test_every_extra_that_a_user_needs_is_known():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    extras = {*project["project"]["optional-dependencies"]}
    told = {package.extra for package in doctor.PACKAGES}
    # "distributed" is Ray once more; the others are for work on secateur itself.
    assert extras - told == {"distributed", "examples", "docs", "hub", "dev"}
