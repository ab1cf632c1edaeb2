"""A tally that does not add up cannot be made."""

import pytest
from pydantic import ValidationError

from secateur.scoring.tally import Tally

COUNTS = {"parts": 1, "rows": 10, "scored": 8, "quarantined": 2, "bytes": 5}
SPEED = {"seconds": 2.0, "rows_per_second": 5.0}


def test_rows_are_scored_or_quarantined():
    assert Tally(**COUNTS, **SPEED).rows == 10


@pytest.mark.parametrize("name", ["rows", "scored", "quarantined"])
def test_lost_or_doubled_row(name):
    with pytest.raises(ValidationError, match="rows are not"):
        Tally(**(COUNTS | {name: COUNTS[name] + 1}), **SPEED)


def test_summary():
    assert Tally(**COUNTS, **SPEED, unread=1).summary() == (
        "10 rows: 8 scored, 2 quarantined, 1 parts unread; 2.0 s, 5 rows/s"
    )
