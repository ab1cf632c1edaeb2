import pytest

from secateur.errors import RecipeError, SecateurError
from secateur.recipe.ranges import AnyOf, Range
from secateur.recipe.recipe import Recipe

TEXT = """\
name: gestures
data: {source: photos}
steps:
  - prune:
      macs: {low: 0.2, high: 0.8}
      by: {any: [l2, taylor]}
      round_to: {low: 4, high: 15, step: 4}
      kinds: {any: [[channel], [channel, block]]}
  - any: [none, {finetune: {epochs: 2, learning_rate: {low: 1e-4, high: 0.01, log: true}}}]
explore: {objectives: [accuracy, macs], trials: 30}
"""
TEXT = TEXT.replace("1e-4", "0.0001")


@pytest.fixture
def load(tmp_path):
    def loaded(old="", new=""):
        assert old in TEXT
        path = tmp_path / "recipe.yaml"
        path.write_text(TEXT.replace(old, new) if old else TEXT)
        return Recipe.load(path)

    return loaded


def test_ranges_are_told_by_name_and_become_entries(load):
    asked = {}

    def choose(name, among):
        asked[name] = among
        return list(among.values)[-1] if isinstance(among, AnyOf) else among.high

    prune, tune = load().space.entries(choose)
    assert list(asked) == [
        "prune.macs",
        "prune.by",
        "prune.round_to",
        "prune.kinds",
        "step 2",
        "finetune.learning_rate",
    ]
    assert list(asked["step 2"].values) == ["none", "finetune"]
    assert asked["prune.macs"] == Range(0.2, 0.8)
    assert asked["prune.round_to"] == Range(4, 12, whole=True, step=4)
    assert asked["finetune.learning_rate"].log
    kinds = ["channel", "block"]
    assert prune == {"prune": {"macs": 0.8, "by": "taylor", "round_to": 12, "kinds": kinds}}
    assert tune == {"finetune": {"epochs": 2, "learning_rate": 0.01}}


def test_a_step_may_be_left_out(load):
    low = load().space.entries(
        lambda name, among: next(iter(among.values)) if isinstance(among, AnyOf) else among.low
    )
    assert [list(entry) for entry in low] == [["prune"]]


def test_steps_of_one_name_have_names_of_their_own():
    step = {"prune": {"macs": {"low": 0.5, "high": 0.9}}}
    recipe = Recipe.of({"name": "x", "data": {"source": "x"}, "steps": [step, step]})
    asked = []
    recipe.space.entries(lambda name, among: asked.append(name) or among.low)
    assert asked == ["prune 1.macs", "prune 2.macs"]


def test_a_run_takes_no_range(load):
    with pytest.raises(RecipeError, match="secateur explore") as caught:
        load().chain  # noqa: B018
    assert "line 5, steps[0].prune.macs" in str(caught.value)


def test_a_recipe_without_ranges_is_as_it_was():
    tree = {"name": "x", "data": {"source": "x"}, "steps": [{"prune": {"macs": 0.5}}]}
    plain, other = Recipe.of(tree), Recipe.of({**tree, "explore": {"trials": 3}})
    assert plain.space.ranges == ()
    assert len(other.chain) == 1
    assert plain.fingerprint() == other.fingerprint()


def test_a_recipe_with_ranges_survives_yaml(load, tmp_path):
    again = tmp_path / "again.yaml"
    again.write_text(load().to_yaml())
    assert Recipe.load(again) == load()


def test_a_mapping_that_a_step_takes_is_no_range():
    weights = {"low": 1.0, "high": 3.0}
    step = {"finetune": {"epochs": 1, "class_weights": weights}}
    recipe = Recipe.of({"name": "x", "data": {"source": "x"}, "steps": [step]})
    assert recipe.chain[0].class_weights == weights


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("low: 0.2, high: 0.8", "low: 0.8, high: 0.2", "line 5", "begins below its end"),
        ("low: 0.2, high: 0.8", "low: 0.2", "line 5", "`low` and `high`"),
        ("low: 0.2, high: 0.8", "low: 0.2, hi: 0.8", "line 5", "`low` and `high`"),
        ("low: 0.2, high: 0.8", "low: 0.2, high: 1.8", "line 4", "between 0 and 1"),
        ("low: 0.2, high: 0.8", "low: a, high: b", "line 5", "numbers"),
        ("low: 0.2, high: 0.8", "low: 0, high: 0.8, log: true", "line 5", "log"),
        ("macs: {low", "mac: {low", "line 5", "'macs'"),
        ("low: 4, high: 15", "low: 4.5, high: 15", "line 7", "whole numbers"),
        ("step: 4", "step: 40", "line 7", "step"),
        ("[l2, taylor]", "[l2, tailor]", "line 4", "tailor"),
        ("[l2, taylor]", "[l2, l2]", "line 6", "twice"),
        ("[l2, taylor]", "l2", "line 6", "list of values"),
        ("none, {finetune", "{finetune: {}}, {finetun", "line 9", "'finetune'"),
        ("trials: 30", "trials: 0", "line 10", "greater than or equal to 1"),
        ("objectives: [", "objective: [", "line 10", "objectives"),
    ],
)
def test_a_mistake_is_told_with_its_line(old, new, line, told, load):
    with pytest.raises(SecateurError) as caught:
        load(old, new)
    assert line in str(caught.value)
    assert told in str(caught.value)
