import sys

import keras
import numpy as np
import pytest

from mortal import dataset
from secateur.data.augment import augmentation
from secateur.errors import MissingExtraError, ModelError, RecipeError
from secateur.recipe.steps import to_entry, to_step
from secateur.steps.distributed import check_workers, fit_distributed
from secateur.steps.finetune import FineTune
from secateur.steps.replicas import BACKENDS, Alone, divisible, share
from secateur.steps.worker import Sent


class Third(Alone):
    rank = 2
    workers = 3


def parts(batches, index, count):
    return [batches.part(index, number, count) for number in range(count)]


def test_the_parts_of_a_batch_are_the_batch():
    batches = dataset((150, 0)).train.batches(30, shuffle=True, seed=4, class_weights=True)
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        for index in range(len(batches)):
            joined = [np.concatenate(each) for each in zip(*parts(batches, index, 3), strict=True)]
            for whole, together in zip(batches[index], joined, strict=True):
                np.testing.assert_array_equal(whole, together)


def test_a_last_batch_that_does_not_divide_is_filled_up_with_the_first_rows():
    batches = dataset((100, 0)).train.batches(30, shuffle=True)
    last = parts(batches, 3, 4)
    assert [len(x) for x, _ in last] == [3, 3, 3, 3]
    x = np.concatenate([x for x, _ in last])
    np.testing.assert_array_equal(x[:10], batches[3][0])
    np.testing.assert_array_equal(x[10:], batches[0][0][:2])


def test_a_part_reads_no_other_rows():
    data = dataset((90, 0))
    batches, asked = data.train.batches(30), []
    store = data.train._store
    take = store.take
    store.take = lambda place, rows: asked.append(rows) or take(place, rows)
    batches.part(1, 2, 3)
    np.testing.assert_array_equal(np.concatenate(asked), np.arange(50, 60))


def test_each_part_is_varied_in_its_own_way_and_again_the_same():
    vary = augmentation("table", noise=0.5)
    x = np.arange(8, dtype="float32").reshape(4, 2)
    ways = [vary(x, key=(0, 1, 5, number)) for number in (0, 1, 0)]
    assert not np.array_equal(ways[0], ways[1])
    np.testing.assert_array_equal(ways[0], ways[2])


def test_a_share_is_the_part_of_one_worker():
    batches = dataset((90, 0)).train.batches(30)
    assert share(batches, Alone()) is batches
    mine = share(batches, Third())
    assert len(mine) == 3
    np.testing.assert_array_equal(mine[1][0], batches[1][0][20:])


def test_divisible_is_the_next_that_divides():
    assert [divisible(rows, 3) for rows in (1, 3, 256)] == [3, 3, 258]


def test_a_model_that_is_sent_is_the_same():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    twin = Sent.of(model).unpack()
    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def tiny():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(inputs))


@pytest.mark.skipif(keras.backend.backend() in BACKENDS, reason="workers can train with it")
def test_a_backend_that_cannot_is_refused_with_the_mend():
    with pytest.raises(ModelError, match="KERAS_BACKEND=jax"):
        FineTune(workers=2)(tiny(), dataset())


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"secateur\[distributed\]"):
        fit_distributed(tiny(), dataset(), workers=2, epochs=1)


@pytest.mark.parametrize("wrong", [0, -2, True])
def test_a_number_of_workers_that_means_nothing_is_an_error(wrong):
    with pytest.raises(RecipeError, match="workers must be 1 or more"):
        FineTune(workers=wrong)


def test_workers_stand_in_a_recipe():
    step = to_step({"finetune": {"workers": 2, "epochs": 3}})
    assert step == FineTune(workers=2, epochs=3)
    assert to_entry(step) == {"finetune": {"workers": 2, "epochs": 3}}


@pytest.mark.skipif(keras.backend.backend() in BACKENDS, reason="workers can train with it")
def test_a_backend_whose_workers_cannot_train_together_is_told_before_anything_is_trained():
    check_workers([FineTune(), object()])
    with pytest.raises(ModelError, match="tensorflow"):
        check_workers([FineTune(workers=2)])
