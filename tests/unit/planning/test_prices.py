import keras
import pytest
from keras import layers

from secateur.errors import BudgetError, PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import plan
from zoo import model_of


class Steps:
    """A price of steps: rows in blocks times columns in blocks, of the dense kernels."""

    def __init__(self, step=8):
        self.step = step

    def cost(self, key, lengths):
        if not key.endswith("kernel"):
            return 0.0
        rows, columns = lengths[-2:]
        return float(-(-rows // self.step) * -(-columns // self.step))


def chain():
    i = keras.Input((16,))
    x = layers.Dense(64, name="a")(i)
    x = layers.Dense(32, name="b")(x)
    return keras.Model(i, layers.Dense(8, name="c")(x))


def left(graph, made, price):
    shapes = graph.shapes(made.keep(graph))
    full = sum(price.cost(key, w.shape) for key, w in graph.weights.items())
    return sum(price.cost(key, shape) for key, shape in shapes.items()) / full


@pytest.mark.parametrize("scope", ["global", "local"])
def test_a_budget_of_latency_holds_by_the_table(scope):
    graph, price = trace(chain()), Steps()
    made = plan(graph, observe(graph), latency=0.5, table=price, scope=scope)
    assert 0.4 < left(graph, made, price) <= 0.5
    assert made.asked == {"latency": 0.5}


@pytest.mark.parametrize("round_to", [1, 8])
def test_widths_that_save_nothing_are_passed_over(round_to):
    keras.utils.set_random_seed(0)
    x = i = keras.Input((16,))
    for name in "abcdef":
        x = layers.Dense(128, name=name)(x)
    graph = trace(keras.Model(i, layers.Dense(8, name="last")(x)))
    stats = observe(graph)
    made, whole = (
        plan(graph, stats, latency=0.5, table=Steps(16), round_to=each) for each in (round_to, 16)
    )
    assert len(made.cuts) > 3
    assert made.cuts == whole.cuts


def test_bytes_count_weights_by_their_type():
    graph = trace(model_of("residual"))
    stats = observe(graph)
    by_bytes = plan(graph, stats, bytes=0.6)
    assert by_bytes.cuts == plan(graph, stats, params=0.6).cuts
    assert by_bytes.asked == {"bytes": 0.6}
    i = keras.Input((16,))
    x = layers.Dense(64, dtype="float64", name="wide")(i)
    x = layers.Dense(64, dtype="float32", name="narrow")(x)
    graph = trace(keras.Model(i, layers.Dense(8, name="out")(x)))
    keep = plan(graph, observe(graph), bytes=0.5).keep(graph)
    size = {"wide": 8, "narrow": 4, "out": 4}
    now, then = (
        sum(n * size[key.split("/")[0]] for key, n in graph.sizes(k).items())
        for k in (graph.everything(), keep)
    )
    assert then <= 0.5 * now


def test_a_table_and_its_budget_come_together():
    graph = trace(chain())
    stats = observe(graph)
    with pytest.raises(PlanError, match="needs a table"):
        plan(graph, stats, latency=0.5)
    with pytest.raises(PlanError, match="with a budget of macs"):
        plan(graph, stats, macs=0.5, table=Steps())
    with pytest.raises(BudgetError, match="exactly one"):
        plan(graph, stats, latency=0.5, macs=0.5, table=Steps())
