"""What the documentation holds: its pages, and the blocks of code in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from typer.main import get_command

from secateur.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READMES = sorted(ROOT.glob("README*.md"))
PAGES = [*READMES, *sorted(DOCS.rglob("*.md"))]
COMMANDS = get_command(app)


class Block(NamedTuple):
    """A block of code: its language as the page says it, and its text."""

    language: str
    text: str


def name_of(page: Path) -> str:
    """Return a page's path below the project, or below its documentation."""
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page that are in one of these languages; all where none is named."""
    found = re.findall(
        r"^```([\w-]*)\n(.*?)^```", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return [Block(*each) for each in found if not languages or each[0] in languages]


def commands(text: str) -> list[list[str]]:
    """Return the words of each line of a shell block that calls secateur."""
    lines = (line.removeprefix("$ ") for line in text.splitlines())
    return [shlex.split(line, comments=True) for line in lines if line.startswith("secateur ")]


def shell(page: Path) -> list[list[str]]:
    """Return every command of a page."""
    found = blocks(page, "", "bash", "sh", "shell", "console")
    return [words for block in found for words in commands(block.text)]


def parse(words: list[str]) -> None:
    """Parse a command without doing it; an option that does not exist raises."""
    above = COMMANDS.make_context("secateur", list(words[1:]))
    rest = [*getattr(above, "_protected_args", ()), *above.args]
    if rest:
        name, command, arguments = COMMANDS.resolve_command(above, rest)
        command.make_context(name, arguments, parent=above)
