"""YAML read with the place of every key, so that an error can name its line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from secateur.errors import RecipeError

Path_ = tuple[Any, ...]

# A recipe is a page; what names one part again and again can grow without end as it is walked.
_MOST_BYTES = 2**20
_MOST_PLACES = 100_000
# A date of month 13 is no YAMLError, and neither are lists in lists in lists.
_NOT_YAML = (yaml.YAMLError, ValueError, OverflowError, RecursionError)


class _Loader(yaml.SafeLoader):
    """YAML as it is read safely, but that 2:4 is a text, and every key.

    YAML 1.1 takes 2:4 for a number to the base of sixty, 124, and a class `yes` for true.
    """

    def construct_yaml_int(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_int(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


@dataclass(frozen=True)
class Positions:
    """Where each key of a file stands.

    Args:
        file: what the file is called.
        lines: the line, from 1, of each key by its path.
    """

    file: str
    lines: dict[Path_, int]

    def at(self, path: Path_) -> str:
        """Return file and line of a key, or of the nearest one above it, and the key itself."""
        told = f", {place(path)}" if path else ""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.file}, line {self.lines[path[:end]]}{told}"
        return f"{self.file}{told}"


def read_yaml(path: Path) -> tuple[Any, Positions]:
    """Read a YAML file into plain values, with the place of every key.

    Raises:
        RecipeError: the file is missing, is no YAML, or has a key twice.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecipeError(
                f"the file has {path.stat().st_size:,} bytes; no recipe is that large.", where=path
            )
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            "there is no such recipe.",
            where=path,
            mend="Check the path, or write one with `secateur init`.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe cannot be read: {error}.", where=path) from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise RecipeError(
                "the recipe is empty.", where=path, mend="Write one with `secateur init`."
            )
        lines = dict(itertools.islice(_walk(node, (), path), _MOST_PLACES + 1))
        if len(lines) > _MOST_PLACES:
            raise RecipeError(f"the recipe has more than {_MOST_PLACES:,} values.", where=path)
        return loader.construct_document(node), Positions(str(path), lines)
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise RecipeError(
            f"this is not YAML: {what}.",
            where=f"{path}{line}",
            mend="Check the indentation, the colons and the brackets.",
        ) from None


def set_value(tree: Any, change: str) -> None:
    """Set one value of a tree, given as "train.epochs=2"; a step may be named or numbered.

    Raises:
        RecipeError: the text has no "=" or its path leads nowhere.
    """
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        raise RecipeError(
            f"a change is written as key=value, got {change!r}.",
            where="--set",
            mend="For example: --set train.epochs=2",
        )
    keys = path.strip().split(".")
    try:
        value = yaml.load(text, _Loader)
    except _NOT_YAML:
        raise RecipeError(
            f"the value {text!r} is not YAML.", where=f"--set {path}", mend="Put it into quotes."
        ) from None
    here = tree
    for index, key in enumerate(keys[:-1]):
        here = _enter(here, key, ".".join(keys[: index + 1]))
    if isinstance(here, list):
        position = _position(here, keys[-1], path)
        here[position] = value
    elif isinstance(here, dict):
        here[keys[-1]] = value
    else:
        raise _nowhere(path)


def place(path: Path_) -> str:
    """Write a path as a person does: train.epochs, steps[0].prune."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _walk(node: Any, path: Path_, file: Path) -> Iterator[tuple[Path_, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError("a key is no word.", where=f"{file}, line {line}")
            if key.value in seen:
                raise RecipeError(
                    f"the key {place((*path, key.value))!r} is there twice, first on line "
                    f"{seen[key.value]}.",
                    where=f"{file}, line {line}",
                    mend="Delete one of the two.",
                )
            seen[key.value] = line
            yield (*path, key.value), line
            yield from _walk(value, (*path, key.value), file)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _walk(item, (*path, index), file)


def _enter(here: Any, key: str, path: str) -> Any:
    if isinstance(here, list):
        return here[_position(here, key, path)] if key.isdigit() else _named(here, key, path)
    if not isinstance(here, dict):
        raise _nowhere(path)
    if here.get(key) is None:
        here[key] = {}
    return here[key]


def _position(here: list[Any], key: str, path: str) -> int:
    if not key.isdigit() or int(key) >= len(here):
        raise _nowhere(path)
    return int(key)


def _named(here: list[Any], key: str, path: str) -> Any:
    """Return the arguments of the first step of a name."""
    for entry in here:
        if isinstance(entry, dict) and key in entry:
            if entry[key] is None:
                entry[key] = {}
            return entry[key]
    raise _nowhere(path)


def _nowhere(path: str) -> RecipeError:
    return RecipeError(
        f"the recipe has nothing at {path!r}.", where="--set", mend="Check the path to the key."
    )
