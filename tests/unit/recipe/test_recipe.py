import inspect
import json
from pathlib import Path

import pytest

from secateur.errors import BudgetError, PlanError, RecipeError, SecateurError
from secateur.planning.patterns import Block, NofM, Unstructured
from secateur.recipe.patterns import to_pattern
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import AugmentSection, DataSection, TrainSection
from secateur.recipe.steps import to_entry, to_step

WHOLE = """\
# a comment
name: gestures
data:
  source: photos
  target: class
  image_size: [64, 64]
model: {build: default, width: 16}
train:
  epochs: 3
  learning_rate: 1e-3
  augment: {rotate: 0.05}
steps:
  - prune: {macs: 0.5, by: taylor}
  - finetune: {epochs: 2}
measure: {batches: [1, 8]}
seed: 7
"""


@pytest.fixture
def write(tmp_path):
    def written(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return written


def test_a_whole_recipe_becomes_values_and_steps(write, tmp_path):
    recipe = Recipe.load(write(WHOLE))
    assert recipe.source == tmp_path / "photos"
    assert recipe.data.image_size == (64, 64)
    assert recipe.train.arguments()["learning_rate"] == 0.001
    assert recipe.train.arguments()["augment"] == {"rotate": 0.05}
    prune, tune = recipe.chain
    assert (prune.macs, prune.by, prune.seed) == (0.5, "taylor", 7)
    assert tune.epochs == 2


def test_a_recipe_survives_yaml(write, tmp_path):
    recipe = Recipe.load(write(WHOLE))
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert Recipe.load(again) == recipe
    assert Recipe.load(again).fingerprint() == recipe.fingerprint()


def test_steps_and_entries_are_one_another(write):
    kinds = ["head", "block"]
    for entry in (
        {"prune": {"macs": 0.5, "keep": ["stem*"], "kinds": kinds}},
        {"finetune": {"epochs": 3}},
        {"finetune": {"epochs": 5, "distill": True, "temperature": 2.0, "features": ["a", "b"]}},
        {"finetune": {"distill": "whole.keras", "alpha": 0.9}},
        {"regularize": {"penalty": "slimming", "strength": 0.01, "macs": 0.5, "keep": ["stem*"]}},
        {"regularize": {"penalty": "greg", "params": 0.4, "proximal": False}},
    ):
        assert to_entry(to_step(entry)) == entry
    for step in Recipe.load(write(WHOLE)).chain:
        assert to_step(to_entry(step)) == step


def test_sections_know_all_that_their_functions_take():
    from secateur.data.augment import augmentation
    from secateur.data.read import read
    from secateur.steps.training import fit

    own = {"source", "contract", "seed", "cache_bytes"}
    assert set(DataSection.model_fields) - own == set(inspect.signature(read).parameters) - own
    assert set(AugmentSection.model_fields) == set(inspect.signature(augmentation).parameters) - {
        "kind",
        "seed",
    }
    not_of_a_recipe = {"model", "data", "until", "checkpoint", "resume", "seed", "verbose"}
    not_of_a_recipe |= {"callbacks", "guide", "teaching", "replica", "checkpoint_seconds"}
    assert (
        set(TrainSection.model_fields) == set(inspect.signature(fit).parameters) - not_of_a_recipe
    )


MISTAKES = {
    "a key that does not exist": ("epochs: 3", "epoch: 3", "line 9", "'epochs'"),
    "a key at the top": ("seed: 7", "sed: 7", "line 16", "'seed'"),
    "a key of another section": ("  target: class", "  epochs: 3", "line 5", "under `train:`"),
    "a key of a step": ("macs: 0.5", "mac: 0.5", "line 13", "'macs'"),
    "a step": ("- finetune: {", "- finetun: {", "line 14", "'finetune'"),
    "an augmentation": ("rotate: 0.05", "rotat: 0.05", "line 11", "'rotate'"),
    "a value of a wrong kind": ("epochs: 3", "epochs: many", "line 9", "'many'"),
    "a value out of range": ("epochs: 3", "epochs: 0", "line 9", "greater than or equal to 1"),
    "a split of two": ("  target: class", "  split: [0.5, 0.5]", "line 5", "split"),
    "a budget of a wrong kind": ("macs: 0.5", "macs: half", "line 13", "'half'"),
    "a missing key": ("  source: photos\n", "", "line 3", "data.source"),
    "build and load": (
        "build: default, width: 16",
        "build: default, load: x",
        "line 7",
        "not both",
    ),
    "a key twice": ("seed: 7", "name: other", "line 16", "twice"),
    "no YAML": ("seed: 7", "seed: [7", "line 17", "brackets"),
    "a batch of none": ("batches: [1, 8]", "batches: [0]", "line 15", "one row"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_its_mend(mistake, write):
    old, new, line, told = MISTAKES[mistake]
    assert old in WHOLE
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(WHOLE.replace(old, new)))
    assert line in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("budget", ["macs: 1.5", "macs: 0", "macs: -0.5", "ratio: 2"])
def test_a_budget_out_of_range_is_told_before_anything_is_read(budget, write):
    with pytest.raises(SecateurError) as caught:
        Recipe.load(write(WHOLE.replace("macs: 0.5", budget))).chain  # noqa: B018
    assert isinstance(caught.value, (BudgetError, RecipeError))
    assert "line 13" in str(caught.value)


@pytest.mark.parametrize("kinds", [["filter"], ["channel", "blocks"], []])
def test_kinds_that_there_are_not_are_told_at_once(kinds):
    with pytest.raises(PlanError) as caught:
        to_step({"prune": {"macs": 0.5, "kinds": kinds}})
    assert "channel, stream, head" in str(caught.value.mend)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
def test_what_is_no_mapping_is_no_recipe(text, write):
    with pytest.raises(RecipeError):
        Recipe.load(write(text))


def test_a_missing_recipe_is_told(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        Recipe.load(tmp_path / "none.yaml")
    assert "secateur init" in caught.value.mend


def test_changes_go_over_the_file(write):
    path = write(WHOLE)
    changes = ["train.epochs=9", "steps.prune.macs=0.25", "steps.1.finetune.epochs=1", "name=x"]
    recipe = Recipe.load(path, [*changes, "data.split=[0.8, 0.1, 0.1]", "export.tolerance=1e-2"])
    assert recipe.train.epochs == 9
    assert list(recipe.steps) == [
        {"prune": {"macs": 0.25, "by": "taylor"}},
        {"finetune": {"epochs": 1}},
    ]
    assert (recipe.name, recipe.data.split, recipe.export.tolerance) == ("x", (0.8, 0.1, 0.1), 0.01)


@pytest.mark.parametrize("change", ["train.epochs", "=3", "steps.9.prune=1", "name.x=1", "a=[1"])
def test_a_change_that_leads_nowhere_is_told(change, write):
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(WHOLE), [change])
    assert "--set" in caught.value.where


def test_a_changed_key_that_does_not_exist_is_told(write):
    with pytest.raises(RecipeError, match=r"train\.epoch'") as caught:
        Recipe.load(write(WHOLE), ["train.epoch=3"])
    assert "'epochs'" in caught.value.mend


def test_another_value_is_another_fingerprint(write):
    path = write(WHOLE)
    assert Recipe.load(path).fingerprint() != Recipe.load(path, ["seed=8"]).fingerprint()
    assert Recipe.load(path).fingerprint() == Recipe.load(path, ["name=other"]).fingerprint()


def test_a_function_of_the_users_own_builds_the_model(write, tmp_path):
    (tmp_path / "my_own_model.py").write_text("def make(contract):\n    return 42\n")
    named = WHOLE.replace("build: default, width: 16", "build: 'my_own_model:make'")
    assert Recipe.load(write(named)).builder()(None) == 42
    with pytest.raises(RecipeError, match="no function 'mak'") as caught:
        Recipe.load(write(named.replace(":make", ":mak"))).builder()
    assert "'make'" in caught.value.mend
    with pytest.raises(RecipeError, match="cannot be imported"):
        Recipe.load(write(named.replace("my_own_model", "no_such_module"))).builder()
    assert Recipe.load(write(WHOLE)).builder() is None


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("unstructured", Unstructured()),
        ("global", Unstructured("global")),
        ("1:4", NofM(1, 4)),
        ("4x4", Block(4, 4)),
        ("1x8 global", Block(1, 8, "global")),
    ],
)
def test_a_pattern_of_zeros_is_written_as_a_word(text, pattern):
    entry = {
        "sparsify": {"pattern": text}
        if isinstance(pattern, NofM)
        else {"sparsity": 0.8, "pattern": text, "epochs": 0}
    }
    step = to_step(entry)
    assert step.pattern == pattern
    assert to_step(to_entry(step)) == step


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"sparsity": 0.5, "pattern": "2x"}, "is no pattern"),
        ({"pattern": "4:2"}, "1 <= n < m"),
        ({"sparsity": 1.5}, "sparsity"),
        ({"sparsity": 0.5, "method": "rigl", "pattern": "1x4"}, "rigl moves single weights"),
        ({"sparsity": 0.5, "runtime": "abacus"}, "no runtime"),
    ],
)
def test_a_wrong_way_to_sparsify_is_told_with_its_place(write, entry, words):
    text = WHOLE.replace("  - finetune: {epochs: 2}", f"  - sparsify: {json.dumps(entry)}")
    with pytest.raises(SecateurError, match=words) as caught:
        Recipe.load(write(text))
    assert "recipe.yaml, line 14" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("by: taylor}", "by: taylor, rewind: early.keras}", "rewind"),
        ("finetune: {epochs: 2}", "finetune: {epochs: 2, distill: early.keras}", "distill"),
    ],
)
def test_a_file_that_a_step_names_lies_beside_the_recipe(write, tmp_path, old, new, key):
    text = WHOLE.replace(old, new)
    with pytest.raises(RecipeError, match="no file"):
        Recipe.load(write(text))
    (tmp_path / "early.keras").touch()
    steps = Recipe.load(write(text)).chain
    named = [getattr(step, key) for step in steps if getattr(step, key, False)]
    assert [Path(each) for each in named] == [tmp_path / "early.keras"]


def test_a_step_that_augments_by_an_unknown_name_is_refused():
    with pytest.raises(RecipeError, match="Did you mean 'flip'"):
        to_step({"finetune": {"augment": {"flipp": True}}})


@pytest.mark.parametrize("written", ["2:4", "'2:4'", "1:16", "1x4", "4x4 global", "global"])
def test_a_pattern_needs_no_quotes(write, written):
    arguments = "{pattern: PATTERN}" if ":" in written else "{sparsity: 0.5, pattern: PATTERN}"
    text = WHOLE.replace("finetune: {epochs: 2}", f"sparsify: {arguments}")
    said = to_pattern(written.strip("'"))
    (_, step) = Recipe.load(write(text.replace("PATTERN", written))).chain
    assert step.pattern == said
    change = f"steps.sparsify.pattern={written}"
    other = write(text.replace("PATTERN", "8:16" if ":" in written else "8x8"))
    (_, step) = Recipe.load(other, [change]).chain
    assert step.pattern == said


def test_a_pattern_that_was_read_as_a_number_is_to_be_put_into_quotes():
    with pytest.raises(RecipeError, match=r"124 is no pattern of zeros.*into quotes"):
        to_step({"sparsify": {"pattern": 124}})


def test_numbers_with_colons_are_no_numbers(write):
    with pytest.raises(RecipeError, match="seed"):
        Recipe.load(write(WHOLE.replace("seed: 7", "seed: 1:30")))


def test_keys_are_text_whatever_yaml_makes_of_them(write):
    recipe = Recipe.load(write(WHOLE), ["train.class_weights={yes: 2, no: 1, 3: 1}"])
    assert recipe.train.class_weights == {"yes": 2, "no": 1, "3": 1}


def test_one_name_needs_no_brackets(write):
    assert Recipe.load(write(WHOLE), ["data.keys=id"]).data.keys == ("id",)


def test_too_few_values_are_told(write):
    with pytest.raises(RecipeError, match=r"data\.split has 2 of the 3 values"):
        Recipe.load(write(WHOLE), ["data.split=[0.5, 0.5]"])
