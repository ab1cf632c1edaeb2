import math

import pytest

from secateur.errors import PlanError
from secateur.planning.schedules import SCHEDULES, cubic, exponential, schedule, share_at


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_grows_to_one(name):
    shares = [schedule(name)(step / 50) for step in range(51)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert shares[0] == (1 if name == "one_shot" else 0)


def test_cubic_is_that_of_the_paper():
    assert [cubic(p) for p in (0.25, 0.5)] == [1 - 0.75**3, 0.875]


def test_what_is_missing_decays_exponentially():
    missing = [1 - exponential(p) * (1 - math.exp(-5)) for p in (0.2, 0.4, 0.6)]
    assert missing[1] / missing[0] == pytest.approx(missing[2] / missing[1])


def test_a_function_of_ones_own_is_a_schedule():
    assert schedule(math.sqrt) is math.sqrt
    assert share_at(math.sqrt, 0.25) == 0.5


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(PlanError, match=r"no schedule 'cubed'.*cubic"):
        schedule("cubed")


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, None])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(PlanError, match="from 0 to 1"):
        share_at(lambda progress: share, 0.5)
