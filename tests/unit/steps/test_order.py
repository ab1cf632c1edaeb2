import pytest

from secateur.errors import RecipeError
from secateur.recipe.recipe import Recipe
from secateur.steps.chain import chain
from secateur.steps.factorize import Factorize
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.quantize import Quantize
from secateur.steps.regularize import Regularize
from secateur.steps.select import Select
from secateur.steps.sparsify import Sparsify

SPARSIFY, QUANTIZE = Sparsify(sparsity=0.8), Quantize()


@pytest.mark.parametrize(
    "steps",
    [
        (Select(macs=0.5), Factorize(macs=0.5), FineTune(distill=True), QUANTIZE),
        (Prune(macs=0.5), FineTune(), SPARSIFY, QUANTIZE),
        (SPARSIFY, Prune(macs=0.5, heal=False), Quantize(mode="weights")),
        (Regularize(macs=0.5), Prune(macs=0.5), Factorize(macs=0.5), Select(macs=0.5)),
        (FineTune(), Select(macs=0.5, quantize=True)),
        (QUANTIZE, lambda model, data: None),
    ],
)
def test_orders_that_make_sense_are_taken(steps):
    assert chain(*steps).steps == steps


@pytest.mark.parametrize(
    "steps",
    [
        (QUANTIZE, FineTune()),
        (QUANTIZE, Prune(macs=0.5, heal=False)),
        (QUANTIZE, SPARSIFY),
        (QUANTIZE, Quantize(mode="weights")),
        (Select(macs=0.5, quantize=True), FineTune()),
        (Select(macs=0.5, quantize=True), QUANTIZE),
        (SPARSIFY, FineTune()),
        (SPARSIFY, Prune(macs=0.5)),
        (SPARSIFY, Prune(macs=0.5, heal=False, rounds=2, epochs=1)),
        (SPARSIFY, Factorize(macs=0.5)),
        (SPARSIFY, Quantize(epochs=1)),
        (SPARSIFY, FineTune(), QUANTIZE),
        (chain(Prune(macs=0.5), QUANTIZE), FineTune()),
    ],
)
def test_a_step_that_would_undo_another_is_refused(steps):
    with pytest.raises(RecipeError, match="would undo that"):
        chain(*steps)


def test_of_two_alike_one_is_to_be_left_out():
    with pytest.raises(RecipeError, match=r"Leave one Quantize out\."):
        chain(Quantize(epochs=1), Quantize(epochs=1))


def test_the_mend_is_not_refused_as_well():
    with pytest.raises(RecipeError, match="Leave Sparsify or Quantize out"):
        chain(SPARSIFY, Quantize(epochs=1))


def test_a_recipe_says_where(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: a\ndata: {source: a.csv, target: y}\nsteps:\n  - quantize: {}\n  - finetune: {}\n"
    )
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert "line 5" in str(caught.value.where)
    assert caught.value.mend == "Put Quantize after FineTune."
