"""The laws of the house for `Factorize`, over a part of the zoo (`make laws`: all of it)."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from secateur.errors import BudgetError, PlanError
from secateur.steps.factorize import Factorize
from zoo import CLASSES_OF_ONES_OWN, inputs_of, model_of, outputs, some

# What they have is recurrent, or inside of layers that are made again as they are.
NOTHING = {
    "bidirectional_stack",
    "recurrent",
    "sequence_autoencoder",
    "spectrally_normalised",
    "time_distributed",
}
STEP = Factorize(energy=0.5, round_to=2, faster=False)


class Rows:
    """Rows of a model's inputs, as a data set gives them."""

    def __init__(self, model):
        self.train, self.x = self, inputs_of(model, 48)

    def sample(self, count, *, seed=0):
        return self.x, None


@cache
def factorized(name):
    model = model_of(name)
    return model, STEP(model, Rows(model))


@pytest.fixture(params=some(1, without=NOTHING))
def name(request):
    return request.param


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_where_nothing_can_be_factorized_it_says_why(name):
    with pytest.raises(PlanError, match=r"nothing in this model can be factorized.*kept"):
        STEP(model_of(name))


def test_it_leaves_its_input_as_it_was_and_is_the_same_again(name):
    model, result = factorized(name)
    config = keras.saving.serialize_keras_object(model)
    before = [np.array(weight) for weight in model.weights]
    again = STEP(model, Rows(model))
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert keras.saving.serialize_keras_object(model) == config
    assert again.notes == result.notes
    for one, other in zip(result.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


def test_what_is_done_is_told_and_saves(name):
    model, result = factorized(name)
    done = [note for note in result.notes if note.kind == "done"]
    assert done
    assert all(note.where and "% of its energy" in note.what for note in done)
    assert result.after.parameters < result.before.parameters
    made, wanted = outputs(result.model, inputs_of(model)), outputs(model, inputs_of(model))
    assert [each.shape for each in made] == [each.shape for each in wanted]
    assert all(np.isfinite(each).all() for each in made)
    if isinstance(model, keras.Sequential):
        assert isinstance(result.model, keras.Sequential)


@pytest.mark.slow
def test_nearly_all_of_the_energy_gives_nearly_the_same(name):
    model, x = model_of(name), inputs_of(model_of(name), 48)
    step = Factorize(energy=1 - 1e-9, round_to=1, faster=False)
    # A weight of rank one has factors that are cheaper and give all of it.
    for weight in model.weights:
        if weight.name in ("kernel", "embeddings"):
            value = np.array(weight)
            rows = value.reshape(-1, value.shape[-1])
            flat = np.outer(rows[:, 0], rows[0]) / np.abs(rows[0]).max()
            weight.assign(flat.reshape(value.shape))
    try:
        result = step(model, Rows(model))
    except PlanError:
        pytest.skip("no factor of full energy is smaller")
    for one, other in zip(outputs(result.model, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3 * np.abs(other).max() + 1e-6)


def test_budgets_hold_or_the_best_is_named(name):
    model = model_of(name)
    try:
        result = Factorize(macs=0.7, round_to=2, faster=False)(model)
    except BudgetError as error:
        best = float(str(error).split("macs=")[1].split(" ")[0])
        assert best >= 0.7
        if best < 0.999:
            result = Factorize(macs=best, round_to=2, faster=False)(model)
            assert result.after.macs <= best * result.before.macs
        return
    assert 0.5 < result.after.macs / result.before.macs <= 0.7


@pytest.mark.slow
def test_a_factorized_model_loads_where_secateur_is_not_installed(tmp_path):
    cases = {}
    for name in some(1, without=NOTHING):
        model, result = factorized(name)
        x = inputs_of(model)
        result.model.save(tmp_path / f"{name}.keras")
        flat = {f"x{k}": v for k, v in enumerate(x if isinstance(x, list) else [x])}
        flat |= {f"y{k}": v for k, v in enumerate(outputs(result.model, x))}
        np.savez(tmp_path / f"{name}.npz", **flat)
        cases[name] = len(model.inputs)
    cases |= {name: cases.pop(name) for name in sorted(cases.keys() & CLASSES_OF_ONES_OWN)}
    program = f"""
import sys
sys.modules["secateur"] = None
import keras, numpy as np
sys.path.append({str(Path(__file__).parents[1])!r})
for name, inputs in {cases!r}.items():
    if name in {CLASSES_OF_ONES_OWN!r}:
        import own_layers
    model = keras.models.load_model({str(tmp_path)!r} + f"/{{name}}.keras", safe_mode=True)
    saved = np.load({str(tmp_path)!r} + f"/{{name}}.npz")
    x = [saved[f"x{{k}}"] for k in range(inputs)]
    y = model(x if inputs > 1 else x[0], training=False)
    for k, value in enumerate(y if isinstance(y, list) else [y]):
        np.testing.assert_allclose(np.asarray(value), saved[f"y{{k}}"], rtol=1e-4, atol=1e-5)
print("same", len({cases!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"same {len(cases)}", done.stderr
