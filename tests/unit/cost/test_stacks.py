import numpy as np
import pytest

from secateur.cost.probes import Probe
from secateur.cost.runtimes import open_runner
from secateur.cost.stacks import Piece, check_stacks, stacked, time_left
from secateur.errors import ModelError, PlanError


def conv(kernel, space=(8, 8), strides=(1, 1), padding="same"):
    return Probe("conv", space, kernel, strides, (1,) * len(kernel), padding)


STACKS = {
    "product": [Piece("product", 32, 8, rows=3), Piece("product", 8, 48, rows=3)],
    "products in groups": [Piece("product", 16, 4, 3, 5), Piece("product", 4, 8, 3, 5)],
    "lookup": [Piece("lookup", 5, 4, rows=3), Piece("product", 4, 16, rows=3)],
    "spatial": [
        Piece("conv", 8, 4, probe=conv((3, 1), strides=(2, 1))),
        Piece("conv", 4, 16, probe=conv((1, 3), (4, 8), (1, 2))),
    ],
    "line": [Piece("conv", 8, 4, probe=conv((3,), (9,), (1,), "causal"))],
}
WIDTHS = {"product": (6, 48), "products in groups": (5, 6, 8), "lookup": (6, 16)}


@pytest.mark.parametrize("name", sorted(STACKS))
def test_a_stack_runs_and_has_the_last_width(name):
    runner = open_runner(stacked(STACKS[name], batch=2))
    shape = runner.inputs[0].shape
    (found,) = runner.run({"x": np.ones(shape, np.float32)})
    assert found.shape == WIDTHS.get(name, (2, STACKS[name][-1].written, *(1 for _ in shape[2:])))
    assert np.isfinite(found).all()


def test_a_stack_is_timed_against_another():
    one, other = [Piece("product", 32, 48, rows=3)], STACKS["product"]
    assert 0 < time_left(one, other, seconds=0.01) < 100


def test_other_runtimes_are_refused():
    with pytest.raises(PlanError, match="litert"):
        check_stacks("litert")
    with pytest.raises(ModelError, match="no runtime"):
        check_stacks("none")
