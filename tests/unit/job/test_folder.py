import pytest

from secateur.errors import OutputError
from secateur.job.folder import RunFolder
from secateur.recipe.recipe import Recipe


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: a\ndata: {source: a.csv, target: y}\nsteps:\n  - prune: {macs: 0.5}\n")
    return Recipe.load(path)


def test_a_folder_is_held_by_one_process(recipe, tmp_path):
    folder = tmp_path / "run"
    one, other = (RunFolder(folder, recipe) for _ in range(2))
    with (
        one.held(),
        pytest.raises(OutputError, match="another process is at work"),
        other.held(),
    ):
        pass
    with other.held():
        (folder / "kept").touch()
    assert (folder / "kept").exists()


def test_a_folder_in_which_nothing_came_about_is_not_left(recipe, tmp_path):
    with RunFolder(tmp_path / "runs" / "run", recipe).held():
        assert (tmp_path / "runs" / "run").is_dir()
    assert not (tmp_path / "runs").exists()
