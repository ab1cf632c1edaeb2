"""The house guards itself: sizes, import direction, public names, lazy imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import secateur

HOUSE = Path(secateur.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
MOST_LINES = 410

# Each room may import from rooms of a lower rank, and from itself.
RANKS = {
    "errors": 0,
    "files": 1,
    "machine": 1,
    "data": 2,
    "graph": 3,
    "formats": 3,
    "planning": 4,
    "models": 4,
    "evaluation": 4,
    "scoring": 5,
    "cost": 5,
    "steps": 6,
    "recipe": 7,
    "reporting": 7,
    "job": 8,
    "serving": 8,
    "demo": 9,
    "cli": 10,
}
HEAVY = ("keras", "tensorflow", "onnxruntime", "pyarrow", "pandas", "PIL", "rich", "typer", "ray")
NO_KERAS = (
    "secateur.scoring.score",
    "secateur.formats.artifact",
    "secateur.formats.predictor",
    "secateur.data.contract",
    "secateur.data.encode",
    "secateur.data.sources",
    "secateur.reporting.report",
    "secateur.serving.server",
)


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "secateur":
                names = [f"secateur.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("secateur.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name != "__init__.py"], ids=lambda p: str(p.relative_to(HOUSE))
)
def test_imports_run_one_way(path):
    room = room_of(path)
    assert room in RANKS, f"give the room {room!r} a rank"
    back = {other for other in imported_rooms(path) - {room} if RANKS[other] >= RANKS[room]}
    assert not back, f"{room} must not import from {sorted(back)}"


def test_there_is_no_import_circle():
    modules = {f"secateur.{'.'.join(p.relative_to(HOUSE).with_suffix('').parts)}": p for p in FILES}
    edges = {}
    for name, path in modules.items():
        edges[name] = {
            target
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.module
            for target in [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            if target in modules and target != name
        }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in edges[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in modules:
        visit(name, ())
    assert len(done) == len(modules)


def test_the_public_names_are_these():
    assert sorted(secateur.__all__) == sorted(
        """Dataset Factorize FineTune Plan Prune Quantize Regularize SecateurError Select Sparsify
        chain cut export heal load mask measure observe plan read report score trace""".split()  # noqa: SIM905
    )
    for name in secateur.__all__:
        assert getattr(secateur, name).__doc__, name


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_secateur_loads_nothing_heavy():
    assert not loaded_by("import secateur") & set(HEAVY)


@pytest.mark.parametrize("module", NO_KERAS)
def test_scoring_does_without_keras(module):
    assert not loaded_by(f"import {module}") & {"keras", "tensorflow", "onnxruntime"}


def test_nothing_unpickles_and_nothing_runs_text():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
                assert not {"pickle", "dill", "joblib", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                assert getattr(node.func, "id", "") not in ("eval", "exec"), path
            if isinstance(node, ast.keyword):
                unsafe = node.arg == "allow_pickle" and getattr(node.value, "value", True)
                assert not unsafe, path
