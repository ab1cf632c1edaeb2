"""The artifact that most tests of this room score with."""

import pytest

from unit.scoring.artifacts import table_contract, write_artifact


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "artifact", table_contract(keys=("id",)))
