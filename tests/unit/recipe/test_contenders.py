import pytest

from secateur.errors import RecipeError
from secateur.recipe.contenders import FAMILIES, contenders
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import STEPS
from secateur.recipe.steps import to_step

BASE = {"name": "x", "data": {"source": "here"}}


def recipe(**compare) -> Recipe:
    return Recipe.of({**BASE, "compare": compare})


def epochs(contender) -> int:
    return sum(
        (arguments or {}).get("epochs", 0)
        for entry in contender.entries
        for arguments in entry.values()
    )


def test_every_family_is_made_of_steps_that_are_there():
    assert {"training-alone", "magnitude", "taylor", "sparse"} <= set(FAMILIES)
    for contender in contenders(Recipe.of(BASE)):
        for entry in contender.entries:
            assert set(entry) <= set(STEPS)
            to_step(entry, seed=3)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_family_trains_equally_long(count):
    made = contenders(recipe(epochs=count))
    assert {each.name: epochs(each) for each in made} == dict.fromkeys(FAMILIES, count)


def test_the_budget_goes_to_those_that_take_one():
    made = {each.name: each for each in contenders(recipe(macs=0.25))}
    assert made["magnitude"].entries[0] == {"prune": {"macs": 0.25, "by": "l2"}}
    assert made["sparse"].entries[0]["sparsify"]["sparsity"] == 0.75
    assert made["magnitude"].told == "prune (macs 0.25, by l2), finetune (epochs 10)"


def test_families_train_at_the_rate_of_the_section():
    made = contenders(recipe(learning_rate=0.002))
    rates = {
        (step == "quantize", arguments.get("learning_rate"))
        for each in made
        for entry in each.entries
        for step, arguments in entry.items()
        if arguments.get("epochs")
    }
    assert rates == {(False, 0.002), (True, None)}


def test_families_that_cut_keep_widths_as_the_section_says():
    made = contenders(recipe(round_to=16))
    cutting = {"prune", "select", "regularize", "factorize", "sparsify"}
    found = {
        (step, arguments.get("round_to"))
        for each in made
        for entry in each.entries
        for step, arguments in entry.items()
    }
    assert {step for step, width in found if width == 16} == cutting
    assert all(width == 16 for step, width in found if step in cutting)
    assert not [
        entry for each in contenders(recipe()) for entry in each.entries if "round_to" in str(entry)
    ]


def test_int8_stands_in_both_modes_alone_and_on_top_of_pruning():
    made = {each.name: each for each in contenders(recipe(epochs=4))}
    for name in ("int8", "taylor-int8", "network-int8"):
        *before, last = made[name].entries
        assert last == {"quantize": {}}
        assert made[f"{name}-dynamic"].entries == (*before, {"quantize": {"mode": "dynamic"}})


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("magnitude-int8", "magnitude"),
        ("network-int8", "pruning-network"),
        ("low-rank-int8", "low-rank"),
    ],
)
def test_what_is_rounded_is_the_family_itself(name, whole):
    made = {each.name: each.entries for each in contenders(recipe(epochs=4))}
    assert made[name] == (*made[whole], {"quantize": {}})


def test_a_family_may_stand_alone():
    (only,) = contenders(recipe(contenders={"int8-dynamic": None}))
    assert only.told == "finetune (epochs 10), quantize (mode dynamic)"


def test_families_train_as_the_recipe_says():
    train = {"batch_size": 64, "augment": {"rotate": 0.05}, "learning_rate": 0.1}
    made = contenders(Recipe.of({**BASE, "train": train}))
    tune = next(each for each in made if each.name == "taylor").entries[-1]["finetune"]
    assert tune == {"epochs": 10, "batch_size": 64, "augment": {"rotate": 0.05}}


def test_contenders_of_ones_own_stand_beside_families():
    own = [{"prune": {"macs": 0.5}}, {"finetune": {"epochs": 3}}]
    made = contenders(recipe(contenders={"mine": own, "magnitude": None}))
    assert [each.name for each in made] == ["mine", "magnitude"]
    assert list(made[0].entries) == own
    assert made[1].entries[0]["prune"]["by"] == "l2"


MISTAKES = {
    "no epochs": ("epochs: 2", "epochs: 0", "line 4", "greater than or equal to 1"),
    "a seed twice": ("seeds: [0]", "seeds: [1, 1]", "line 3", "twice"),
    "no seed": ("seeds: [0]", "seeds: []", "line 5", "at least 1"),
    "a whole budget": ("macs: 0.5", "macs: 1", "line 6", "less than 1"),
    "a runtime": ("seeds: [0]", "runtimes: [abacus]", "line 5", "'openvino'"),
    "a step": ("- prune:", "- prun:", "line 9", "'prune'"),
    "an argument": ("by: l2", "bi: l2", "line 9", "'by'"),
    "no steps": ("[{finetune: {epochs: 1}}]", "[]", "line 10", "at least 1"),
    "no such family": ("[{finetune: {epochs: 1}}]", "", "line 10", "'second'"),
    "a name with a slash": ("second:", "a/b:", "line 3", "'a/b' is no name"),
    "the baseline's name": ("second:", "baseline:", "line 3", "not 'baseline'"),
    "a key": ("epochs: 2", "epoch: 2", "line 4", "'epochs'"),
}
WHOLE = """\
name: x
data: {source: here}
compare:
  epochs: 2
  seeds: [0]
  macs: 0.5
  contenders:
    first:
    - prune: {macs: 0.5, by: l2}
    second: [{finetune: {epochs: 1}}]
"""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(mistake, tmp_path):
    old, new, line, told = MISTAKES[mistake]
    assert old in WHOLE
    path = tmp_path / "recipe.yaml"
    path.write_text(WHOLE)
    assert len(contenders(Recipe.load(path))) == 2
    path.write_text(WHOLE.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert f"{line}," in str(caught.value)
    assert told in str(caught.value)


def test_a_run_does_not_depend_on_what_is_compared():
    plain = Recipe.of(BASE)
    assert recipe(epochs=3).fingerprint() == plain.fingerprint()
    whole = {**BASE, "steps": [{"prune": {"macs": 0.5}}], "measure": {"batches": [8]}, "seed": 4}
    start = Recipe.of({**whole, "compare": {}}).start
    assert (start.steps, start.compare, start.measure.batches) == ((), None, (1, 32))
    assert start.seed == 4


def test_a_step_without_arguments_may_stand_alone():
    asked = recipe(contenders={"a": ["quantize"], "b": [{"prune": {"macs": 0.5}}, "finetune"]})
    assert [each.entries for each in contenders(asked)] == [
        ({"quantize": {}},),
        ({"prune": {"macs": 0.5}}, {"finetune": {}}),
    ]


def test_training_with_rounding_is_as_the_recipe_says():
    train = {"batch_size": 64, "class_weights": True, "augment": {"noise": 0.1}}
    asked = Recipe.of({**BASE, "train": train, "compare": {"contenders": {"int8-aware": None}}})
    (entry,) = contenders(asked)[0].entries
    assert entry["quantize"] == {
        "epochs": 10,
        "batch_size": 64,
        "class_weights": True,
        "augment": {"noise": 0.1},
    }
