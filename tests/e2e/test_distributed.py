"""Several workers under Ray Train, on a cluster of several processes that is started for this.

It takes Ray Train, and `KERAS_BACKEND` set to jax or torch.
"""

import keras
import numpy as np
import pytest
from keras import layers

from mortal import WIDTH, dataset
from secateur.errors import DataError, RecipeError
from secateur.steps.finetune import FineTune

BACKEND = keras.backend.backend()
if BACKEND not in ("jax", "torch"):
    pytest.skip(f"workers cannot train with the {BACKEND} backend", allow_module_level=True)
pytest.importorskip("ray.train", reason="Ray Train is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster():
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def model(normalised=False, dropout=0.0, width=8):
    x = inputs = keras.Input((WIDTH,), name="x")
    start = keras.initializers.HeNormal(seed=1)
    # A bias before a normalisation has no gradient but noise, which Adam makes steps of.
    hidden = layers.Dense(width, kernel_initializer=start, use_bias=not normalised, name="hidden")
    x = hidden(x)
    if normalised:
        x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = layers.ReLU(name="act")(x)
    if dropout:
        x = layers.Dropout(dropout, name="drop")(x)
    start = keras.initializers.HeNormal(seed=2)
    x = layers.Dense(2, activation="softmax", kernel_initializer=start, name="out")(x)
    return keras.Model(inputs, x, name=f"m{width}")


def trained(start, data, **options):
    settings = {"epochs": 4, "batch_size": 32, "learning_rate": 0.02, **options}
    return FineTune(**settings)(start, data)


def assert_close(one, two, most=1e-5):
    for left, right in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=most)
    figures, others = (each.curves[0][1].metrics for each in (one, two))
    assert figures.keys() == others.keys()
    for name in figures:
        np.testing.assert_allclose(figures[name], others[name], atol=most, err_msg=name)


# A model whose training is another one on parts of a batch with PyTorch; with JAX it is not.
OWN = {"normalised": True, "dropout": 0.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def whole(cluster, folder):
    """Train with two workers, undisturbed, and keep the state."""
    return trained(model(**OWN), dataset(), workers=2, checkpoint=str(folder))


def test_two_workers_give_what_one_gives(request):
    kind = OWN if BACKEND == "jax" else {}
    start = model(**kind)
    before = [each.copy() for each in start.get_weights()]
    one = trained(start, dataset())
    two = request.getfixturevalue("whole") if kind else trained(start, dataset(), workers=2)
    assert_close(one, two)
    assert one.curves[0][1].best == two.curves[0][1].best
    assert "by 2 workers" in two.notes[0].what
    for now, then in zip(start.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_two_workers_learn_from_a_teacher_and_stop_as_one_does():
    options = {"distill": True, "epochs": 30, "patience": 1, "learning_rate": 0.3}
    # How far features are apart is told by the mean over a batch: over a part with PyTorch.
    options |= {"features": ("act",)} if BACKEND == "jax" else {}
    options |= {"batch_size": 32, "class_weights": True}
    one, two = (
        FineTune(**options, workers=count)(model(), dataset(), teacher=model(width=16))
        for count in (1, 2)
    )
    assert one.curves[0][1].epochs < 30
    assert_close(one, two, most=1e-3)


def test_a_worker_that_dies_in_mid_epoch_changes_nothing(whole, tmp_path):
    lethal = tmp_path / "lethal"
    lethal.touch()
    broken = trained(model(**OWN), dataset(lethal=str(lethal)), workers=2)
    assert not lethal.exists()
    assert "begun again 1 time " in broken.notes[0].what
    for left, right in zip(whole.model.get_weights(), broken.model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert whole.curves[0][1].metrics == broken.curves[0][1].metrics


def test_a_state_is_gone_on_from(whole, folder):
    assert [each.name for each in folder.iterdir()] == ["training.npz"]
    options = {"workers": 2, "checkpoint": str(folder), "resume": True}
    # One row is read to see what the labels are; there is nothing left to train on.
    again = trained(model(**OWN), dataset(broken=True, reads=2), **options)
    for left, right in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_goes_wrong_in_a_worker_is_one_error():
    with pytest.raises(DataError, match="a file is gone") as caught:
        trained(model(), dataset(broken=True), workers=2)
    assert caught.value.where == "part-3.parquet"


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(RecipeError, match="batch of 33 rows"):
        trained(model(), dataset(), workers=2, batch_size=33)
    with pytest.raises(RecipeError, match="has 2 cores"):
        trained(model(), dataset(), workers=64, batch_size=64)
