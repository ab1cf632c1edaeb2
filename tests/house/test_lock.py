"""The lock pins what CI installs: all of it, in versions that pyproject.toml allows, by hashes."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements" / "ci.lock").read_text("utf-8")
PINS = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCK, flags=re.MULTILINE))
EXTRAS = re.search(r"-e '\.\[(\S*\bdev)\]'", (ROOT / "Makefile").read_text("utf-8"))
ENTRY = re.compile(r"\S+==\S+ \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+(\n    #.*)+")
ENVIRONMENT = {"platform_system": "Linux", "python_version": "3.11", "sys_platform": "linux"}


def asked() -> list[str]:
    assert EXTRAS is not None
    optional = PROJECT["project"]["optional-dependencies"]
    build = (ROOT / "requirements" / "build.in").read_text("utf-8").splitlines()
    return [
        *PROJECT["project"]["dependencies"],
        *(each for name in (*EXTRAS[1].split(","), "docs") for each in optional[name]),
        *(line for line in build if not line.startswith("#")),
    ]


@pytest.mark.parametrize("line", sorted(set(asked())))
def test_what_is_asked_for_is_pinned(line):
    requirement = Requirement(line)
    if requirement.marker is None or requirement.marker.evaluate(ENVIRONMENT):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_every_pin_has_hashes_and_says_nothing_of_where_it_came_from():
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        assert ENTRY.fullmatch(entry), entry[:60]
    assert "://" not in LOCK


def test_what_builds_the_project_is_the_backend_that_it_names():
    assert set(PROJECT["build-system"]["requires"]) < set(asked())


def test_the_documented_command_makes_it_of_the_same_extras():
    assert EXTRAS is not None
    told = re.findall(r"--extra (\w+)", (ROOT / "docs" / "security.md").read_text("utf-8"))
    assert sorted(told) == sorted([*EXTRAS[1].split(","), "docs"])


@pytest.mark.parametrize(("given", "locked"), [([], False), (["LOCKED=1"], True)])
def test_make_installs_from_it_where_it_is_asked_to(given, locked):
    # These tests may run under a make that was itself asked for the lock, which passes that on.
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in {"LOCKED", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS"}
    }
    for goal in ("test", "demo", "docs", "lint"):
        # What is installed already is left out of what would be done, but for `-B`.
        done = subprocess.run(
            ["make", "-nB", goal, *given],
            cwd=ROOT,
            env=plain,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("--require-hashes" in done.stdout) is locked, goal
        assert ("-e '.[" in done.stdout) is not locked, goal
