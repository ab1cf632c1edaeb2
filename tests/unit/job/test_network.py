"""How the layers of a model are wired, as the record holds it: on every tiny model."""

import pytest

from secateur.graph.trace import trace
from secateur.job.account import network
from secateur.reporting.wiring import wiring
from zoo import ZOO, model_of


@pytest.mark.parametrize("name", sorted(ZOO)[::6])
def test_every_layer_of_a_wiring_is_there_and_reads_what_came_before(name):
    model = model_of(name)
    nodes = network(model, model)
    graph = trace(model)
    widths = graph.widths(graph.everything())
    assert [node.name for node in nodes if not node.merges] == list(widths)
    seen = set()
    for node in nodes:
        assert set(node.inputs) <= seen
        assert node.before == node.after
        assert len(node.inputs) > 1 or not node.merges
        seen.add(node.name)
    if len(nodes) > 1:
        assert wiring(nodes).startswith("<svg")
