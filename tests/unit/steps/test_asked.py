from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import DataError, ModelError, PlanError, RecipeError, SecateurError
from secateur.steps.chain import chain
from secateur.steps.explore import explore
from secateur.steps.factorize import Factorize
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.quantize import Quantize
from secateur.steps.regularize import Regularize
from secateur.steps.select import Select
from secateur.steps.sensitivity import sensitivity
from secateur.steps.sparsify import Sparsify
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def model():
    i = keras.Input((4,))
    return keras.Model(i, layers.Dense(2)(layers.Dense(16, "relu", name="hidden")(i)))


ROWS = np.zeros((8, 4), "float32"), np.arange(8) % 2
STEPS = (
    Prune(macs=0.5),
    Prune(macs=0.5, by="l2", sensitivity=True),
    Prune(max_drop=1.0),
    Sparsify(0.5),
    Sparsify(0.5, epochs=0),
    FineTune(),
    Regularize(macs=0.5),
    Select(macs=0.5),
    Factorize(macs=0.5),
    Quantize(),
    sensitivity,
    fit,
    lambda model, data: Select(macs=0.5).network(model, data, steps=3),
    lambda model, data: explore(model, data, lambda trial: FineTune()),
)


@pytest.mark.parametrize(
    "data", [ROWS, ROWS[0], {"x": 1}, "rows.csv"], ids=lambda data: type(data).__name__
)
@pytest.mark.parametrize("step", STEPS, ids=range(len(STEPS)))
def test_data_that_is_no_dataset_is_refused(model, step, data):
    with pytest.raises(DataError, match=f"Dataset, received {type(data).__name__}"):
        step(model, data)


RNG = np.random.default_rng(0)
DATA = {
    "two classes": read((RNG.normal(size=(80, 4)), np.arange(80) % 2)),
    "five classes": read((RNG.normal(size=(80, 4)), np.arange(80) % 5)),
    "values": read((RNG.normal(size=(80, 4)), RNG.normal(size=80))),
    "wide": read((RNG.normal(size=(80, 9)), np.arange(80) % 2)),
}
NO_LABELS = (
    Prune(macs=0.5, by="l2"),
    Prune(macs=0.5, by="wanda"),
    Sparsify(0.5, epochs=0),
    Factorize(energy=0.5, faster=False, round_to=1),
    Quantize(),
)
LABELS = (
    Prune(macs=0.5),
    Prune(macs=0.5, by="obd"),
    Prune(macs=0.5, by="l2", sensitivity=True),
    Prune(macs=0.5, by="l2", rounds=2, epochs=1),
    Prune(max_drop=1.0, by="l2"),
    Sparsify(0.5),
    FineTune(),
    Regularize(macs=0.5),
    Select(macs=0.5),
    Factorize(max_drop=1.0, faster=False),
    Quantize(max_drop=1.0),
    Quantize(epochs=1),
    sensitivity,
    fit,
    lambda model, data: Select(macs=0.5, by="taylor").network(model, data, steps=3),
    lambda model, data: explore(model, data, lambda trial: FineTune()),
)
ENDS = {
    "one": lambda x: layers.Dense(1, "sigmoid")(x),
    "two": lambda x: layers.Dense(2, "softmax")(x),
    "several": lambda x: [layers.Dense(2, "softmax")(x), layers.Dense(1)(x)],
}


def ending_in(end):
    i = keras.Input((4,), name="array")
    return keras.Model(i, ENDS[end](layers.Dense(16, "relu", name="hidden")(i)), name="small")


def names(steps):
    return [getattr(step, "__name__", None) or repr(step)[:40] for step in steps]


@pytest.mark.parametrize("step", [*NO_LABELS, *LABELS], ids=names((*NO_LABELS, *LABELS)))
def test_a_step_refuses_data_of_another_width(model, step):
    said = r"takes samples of shape \(4\), the data gives \(9\)"
    with pytest.raises(ModelError, match=said) as caught:
        step(model, DATA["wide"])
    assert caught.value.where == model.name
    assert caught.value.mend


@pytest.mark.parametrize(
    ("end", "data", "said"),
    [
        ("several", "two classes", "has 2 outputs; it needs one"),
        ("one", "five classes", r"outputs of shape \(1\), the target is 5 classes"),
        ("two", "five classes", r"outputs of shape \(2\), the target is 5 classes"),
        ("two", "values", r"outputs of shape \(2\), the target is a number"),
    ],
)
@pytest.mark.parametrize("step", LABELS, ids=names(LABELS))
def test_a_step_that_looks_at_labels_refuses_a_model_that_gives_others(step, end, data, said):
    with pytest.raises(ModelError, match=said):
        step(ending_in(end), DATA[data])


@pytest.mark.parametrize("step", NO_LABELS, ids=names(NO_LABELS))
def test_a_step_that_looks_at_inputs_alone_takes_a_model_of_several_outputs(step):
    made = step(ending_in("several"), DATA["two classes"]).model
    assert len(made.outputs) == 2


@pytest.mark.parametrize("step", [Select, Regularize])
@pytest.mark.parametrize(
    ("rows", "options", "batch", "said"),
    [
        (24, {}, None, "at least 32 training rows, and would see"),
        (80, {"samples": 20}, None, "would see 20"),
        (80, {}, 8, "takes 8 rows at a time, and healing would see"),
    ],
    ids=["few rows", "few samples", "fixed batch"],
)
def test_what_cannot_be_healed_is_refused_before_it_is_trained(
    monkeypatch, step, rows, options, batch, said
):
    monkeypatch.setattr(f"secateur.steps.{step.__name__.lower()}.fit", lambda *_, **__: 1 / 0)
    i = keras.Input(batch_shape=(batch, 4))
    model = keras.Model(i, layers.Dense(2)(layers.Dense(16, "relu")(i)))
    data = read((RNG.normal(size=(rows, 4)), np.arange(rows) % 2))
    with pytest.raises(DataError, match=said):
        step(macs=0.5, **options)(model, data)
    with pytest.raises(ZeroDivisionError):
        step(macs=0.5, heal=False, **options)(model, data)


TRAINED = {
    "finetune": FineTune,
    "select": partial(Select, macs=0.5),
    "regularize": Regularize,
    "quantize": partial(Quantize, epochs=1),
    "sparsify": partial(Sparsify, 0.5),
}
ONE_OF_TWO = "must be True or False, received 'no'"


@pytest.mark.parametrize("step", TRAINED)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": "a"}, "seed must be a whole number from 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"learning_rate": "x"}, "learning_rate must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"augment": "yes"}, "augment must be True, False or a mapping, received 'yes'"),
        ({"class_weights": "even"}, "class_weights must be True, False or a mapping"),
        ({"verbose": "no"}, f"verbose {ONE_OF_TWO}"),
        ({"resume": "no"}, f"resume {ONE_OF_TWO}"),
        ({"resume": True}, "resume goes on from a checkpoint, and no folder is named"),
    ],
)
def test_every_step_that_trains_refuses_the_same(step, options, said):
    with pytest.raises(SecateurError, match=said) as caught:
        TRAINED[step](**options)
    assert caught.value.mend


@pytest.mark.parametrize("step", TRAINED)
def test_what_a_run_hands_to_every_step_is_taken(step):
    made = TRAINED[step]()
    again = replace(made, checkpoint="folder", resume=True, verbose=False)
    assert (again.checkpoint, again.resume) == ("folder", True)


def test_what_a_run_hands_to_a_step_that_does_not_train_is_taken():
    kept = {"checkpoint": "folder", "resume": True, "verbose": True}
    assert Quantize(**kept, learning_rate=1e-4, batch_size=None).epochs == 0
    assert Sparsify(0.5, epochs=0, **kept).epochs == 0


@pytest.mark.parametrize(
    ("step", "options", "said"),
    [
        (Quantize, {"batch_size": 64}, "batch_size is of the training, and epochs is 0"),
        (Quantize, {"learning_rate": 0.1}, "learning_rate is of the training"),
        (Quantize, {"augment": True}, "augment is of the training"),
        (Quantize, {"class_weights": True}, "class_weights is of the training"),
        (Quantize, {"patience": 3}, "patience is of the training"),
        (Quantize, {"mode": "dynamic", "samples": 4}, "samples says how many rows ranges"),
        (Quantize, {"max_drop": 200}, "from 0 to below 100, received 200"),
        (Quantize, {"max_drop": "1"}, "max_drop is in points"),
        (Quantize, {"equalize": "no"}, f"equalize {ONE_OF_TWO}"),
        (Quantize, {"correct_bias": "no"}, f"correct_bias {ONE_OF_TWO}"),
        (Quantize, {"reduce_range": "no"}, f"reduce_range {ONE_OF_TWO}"),
        (Quantize, {"calibration": ["mse"]}, r"no calibration \['mse'\]"),
        (Select, {"macs": 0.5, "gates": ["soft"]}, r"no gates \['soft'\]"),
        (Select, {"macs": 0.5, "quantize": "int8"}, "quantize must be True, False or a mapping"),
        (Select, {"macs": 0.5, "quantize": None}, "quantize must be True, False or a mapping"),
        (Select, {"macs": 0.5, "gate_learning_rate": 0}, "gate_learning_rate must be a number"),
        (Select, {"macs": 0.5, "kinds": "channel"}, "kinds cannot be 'channel'"),
        (Select, {"macs": 0.5, "heal": "no"}, f"heal {ONE_OF_TWO}"),
        (Regularize, {"threshold": 0.5}, "threshold is for zeros that are not exact"),
        (Regularize, {"samples": 0}, "samples must be a whole number from 1"),
        (Regularize, {"epochs": 0}, "epochs must be a whole number from 1"),
        (Regularize, {"proximal": "no"}, f"proximal {ONE_OF_TWO}"),
        (Regularize, {"keep": "ab"}, r"Write keep=\('ab',\)"),
        (Regularize, {"kinds": "channel"}, "kinds cannot be 'channel'"),
        (Factorize, {"vbmf": "no"}, f"vbmf {ONE_OF_TWO}"),
        (Factorize, {"energy": 0.5, "faster": "no"}, f"faster {ONE_OF_TWO}"),
        (Factorize, {"energy": "x"}, "energy must be a share between 0 and 1, received 'x'"),
        (Factorize, {"energy": 0.5, "seed": -1}, "seed must be a whole number from 0"),
        (FineTune, {"distill": True, "features": "conv"}, r"Write features=\('conv',\)"),
    ],
    ids=str,
)
def test_options_that_do_nothing_or_mean_nothing_are_named(step, options, said):
    with pytest.raises(PlanError, match=said):
        step(**options)


def test_options_beside_what_gives_them_sense_are_taken():
    assert Quantize(mode="dynamic", samples=40, max_drop=1.0).samples == 40
    for penalty, proximal in (("l2", True), ("l1", False), ("group_lasso", False)):
        assert Regularize(penalty, proximal=proximal, threshold=0.5).threshold == 0.5


@pytest.mark.parametrize("given", ["prune", None, Prune])
def test_a_chain_is_of_steps(given):
    with pytest.raises(RecipeError, match="a chain takes steps, received"):
        chain(Prune(macs=0.5), given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "samples must be a whole number"),
        ({"round_to": 1.5}, "round_to must be a whole number"),
        ({"floor": "0.1"}, "floor must be a share"),
        ({"keep": "hidden"}, "keep must be a tuple"),
        ({"shares": (0.5, 1)}, "shares are numbers between 0 and 1, received 1"),
    ],
)
def test_wrong_options_of_a_sensitivity_are_named(model, options, said):
    with pytest.raises(PlanError, match=said):
        sensitivity(model, read(ROWS), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": "3"}, "epochs must be above 0"),
        ({"batch_size": True}, "batch_size must be above 0"),
        ({"patience": 2.5}, "patience must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate must be above 0"),
        ({"workers": "all"}, "workers must be 1 or more"),
        ({"distill": True, "alpha": "half"}, "alpha must be above 0"),
    ],
)
def test_wrong_options_of_a_training_are_named_at_once(options, said):
    with pytest.raises(RecipeError, match=said):
        FineTune(**options)
