"""Fills the pages of the reference with what the code says of itself, while the site is built."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

MARK = re.compile(r"^<!-- (\w+) -->$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what a mark names in its place."""
    return MARK.sub(lambda found: MAKERS[found[1]](), markdown)


def commands() -> str:
    """Return every command with its arguments and options."""
    from typer.main import get_command

    from secateur.cli.app import app

    told = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        usage = " ".join([f"secateur {name}", *_usage(command)])
        told += [f"## {name}", "", _prose(command.help), "", f"```\n{usage}\n```", ""]
        rows = [
            (_names(each), _cell(getattr(each, "help", "")), _default(each))
            for each in command.params
            if each.name != "help"
        ]
        told += [*_table(("argument or option", "what", "default"), rows), ""]
    return "\n".join(told)


def sections() -> str:
    """Return the sections of a recipe, and the arguments of its steps."""
    from secateur.recipe.sections import SECTIONS, STEPS

    told = []
    for name, section in SECTIONS.items():
        told += [f"## `{name}`", "", _prose(section.__doc__), ""]
        rows = [
            (f"`{key}`", _cell(_type(field.annotation)), _value(field.get_default()))
            for key, field in section.model_fields.items()
        ]
        told += [*_table(("key", "values", "default"), rows), ""]
    told += ["## Steps", "", "What each argument means stands in [Python](python.md).", ""]
    for name, home in STEPS.items():
        step = _step(home)
        told += [f"### `{name}`", "", str(step.docstring.value).partition("\n")[0], ""]
        rows = [
            (f"`{key}`", "" if each.value in (None, "None") else f"`{each.value}`")
            for key, each in step.attributes.items()
            if "instance-attribute" in each.labels and each.annotation is not None
        ]
        told += [*_table(("argument", "default"), rows), ""]
    return "\n".join(told)


def schemas() -> str:
    """Return what each command prints with `--json`."""
    from secateur.cli.promises import TOLD

    told = []
    for name, model in TOLD.items():
        schema = json.dumps(_open(model.model_json_schema()), indent=1)
        about = inspect.cleandoc(model.__doc__ or "")
        what, _, keys = about.partition("Attributes:")
        told += [f"## `secateur {name}`", "", " ".join(what.split()), ""]
        rows = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", keys, flags=re.MULTILINE)
        if rows:
            cells = [(f"`{key}`", _cell(" ".join(words.split()))) for key, words in rows]
            told += [*_table(("key", "what"), cells), ""]
        told += [f'??? note "JSON Schema"\n    ```json\n{_indented(schema)}\n    ```', ""]
    return "\n".join(told)


def exits() -> str:
    """Return the exit codes."""
    from secateur.cli.exits import EXITS

    return "\n".join(_table(("code", "meaning"), [(str(k), v) for k, v in EXITS.items()]))


MAKERS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "sections": sections,
    "schemas": schemas,
    "exits": exits,
}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _usage(command: Any) -> list[str]:
    words = ["[OPTIONS]"] if any(each.opts[0][:1] == "-" for each in command.params) else []
    return words + [_argument(each) for each in command.params if each.opts[0][:1] != "-"]


def _argument(each: Any) -> str:
    return str(each.metavar or each.name.upper())


def _names(each: Any) -> str:
    if each.opts[0][:1] != "-":
        return f"`{_argument(each)}`"
    flags = ", ".join(f"`{flag}`" for flag in (*each.opts, *each.secondary_opts))
    return flags if each.is_flag or not each.metavar else f"{flags} `{each.metavar}`"


def _default(each: Any) -> str:
    value = each.default
    return "" if value in (None, False, ()) or callable(value) else f"`{value}`"


def _step(home: str) -> Any:
    """Return a step as its source has it: to import it would load Keras."""
    import griffe

    module, _, name = home.partition(":")
    return griffe.load(f"{module}.{name}", search_paths=["src"], allow_inspection=False)


def _value(value: Any) -> str:
    return "" if value is None or "Undefined" in repr(value) else f"`{value!r}`"


def _type(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) else str(kind)
    text = re.sub(r"\b(?:typing|secateur|pathlib)(?:\.\w+)*\.", "", text)
    text = re.sub(r"Literal\[([^\]]*)\]", r"\1", text)
    return f"`{text}`"


def _open(schema: Any) -> Any:
    """Return a schema that later versions keep as well, which may add keys."""
    if isinstance(schema, dict):
        closed = {"additionalProperties": False}.items()
        return {key: _open(each) for key, each in schema.items() if (key, each) not in closed}
    return [_open(each) for each in schema] if isinstance(schema, list) else schema


def _prose(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
