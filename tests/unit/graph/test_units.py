import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secateur.graph.units import Ledger, components, gather, spread

edges = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40)


@given(edges)
def test_components_are_the_classes_of_the_joined(pairs):
    arrays = [(np.array([a]), np.array([b])) for a, b in pairs]
    label = components(20, arrays)
    naive = list(range(20))
    for _ in range(20):
        for a, b in pairs:
            naive[a] = naive[b] = min(naive[a], naive[b])
    assert label.tolist() == naive


def test_what_moves_can_be_found_again():
    ids = np.array([7, 3, 9, 4])
    for axis, shape in ((0, (4, 2, 3)), (1, (2, 4, 3)), (2, (5, 1, 4))):
        place = gather(spread(ids, axis, shape))
        assert place is not None
        assert place[0] == axis
        assert (place[1] - 1).tolist() == ids.tolist()


def test_ids_along_two_axes_are_not_guessed():
    assert gather(np.arange(6).reshape(2, 3)) is None
    assert gather(np.ones((2, 3), int)) is None


def test_joined_blocks_compete_and_joined_ids_are_one_unit():
    ledger = Ledger()
    a, b, c = ledger.mint(2, "a"), ledger.mint(3, "b"), ledger.mint(5, "c")
    ledger.join(np.concatenate([a, b]), c)
    settled = ledger.settle()
    assert settled.unit.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert set(settled.group.tolist()) == {0}
