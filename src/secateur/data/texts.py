"""A contract as YAML, for people to read and edit: every plain word is text until a field types it.

So a vocabulary of no, 01 and 2020-01-01 is three words here, and neither a truth nor a number nor
a date. Anchors, tags and keys that stand twice are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

_NOTHING = ("", "~", "null")
_LONG = 96
_DEEP = 50


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers and of words on one line, or as few as hold them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    plain = not any(isinstance(item, (list, dict)) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain)


def _word(dumper: yaml.SafeDumper, word: str) -> yaml.Node:
    # Where nothing says otherwise, an empty word or "null" would be read back as nothing.
    style = "'" if word in _NOTHING else None if word.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", word, style=style)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _word)


def to_yaml(tree: Any) -> str:
    """Write a tree of mappings, lists, words and numbers."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LONG)


def from_yaml(text: bytes) -> Any:
    """Read one document: every scalar is text, but for a plain `null`, `~` or nothing.

    Raises:
        ValueError: it is not YAML, or uses what is refused; the message names the line.
    """
    try:
        # Events, because a document a million levels deep would overflow what reads it by calling
        # itself, and one of many anchors would grow without end.
        return _tree(_events(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        said = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise ValueError(f"{line}{said}") from error


def _events(text: bytes) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error}") from error


def _tree(events: Iterator[Any]) -> Any:
    tops: list[Any] = []
    open_: list[tuple[Any, list[Any]]] = []
    for event in events:
        line = f"line {event.start_mark.line + 1}" if event.start_mark else "the document"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"{line}: anchors are not read")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(open_) == _DEEP:
                raise ValueError(f"{line}: more than {_DEEP} levels deep")
            open_.append((event, []))
            continue
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None and event.tag != "!":
                raise ValueError(f"{line}: the tag {event.tag} is not read")
            made: Any = None if event.style is None and event.value in _NOTHING else event.value
            # libyaml gives plain scalars the style "".
            if event.style == "" and event.value in _NOTHING:
                made = None
        elif isinstance(event, yaml.MappingEndEvent):
            made = _mapping(open_.pop()[1], line)
        elif isinstance(event, yaml.SequenceEndEvent):
            made = open_.pop()[1]
        else:
            continue
        (open_[-1][1] if open_ else tops).append(made)
    if len(tops) != 1:
        raise ValueError(f"{len(tops)} documents, where one is expected")
    return tops[0]


def _mapping(flat: list[Any], line: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if not isinstance(key, str):
            raise ValueError(f"before {line}: {key!r} is no key")
        if key in made:
            raise ValueError(f"before {line}: the key {key!r} stands twice")
        made[key] = value
    return made
