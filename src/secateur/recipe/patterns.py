"""Patterns of zeros as a recipe writes them: `unstructured`, `global`, `2:4`, `1x4`."""

from __future__ import annotations

import re

from secateur.errors import RecipeError
from secateur.planning.patterns import Block, NofM, Pattern, Unstructured

FORMS = "unstructured, global, N:M such as 2:4, AxB such as 1x4, or AxB global"


def to_pattern(text: object) -> Pattern:
    """Return the pattern that a text stands for.

    `unstructured` takes the same share from each kernel, `global` ranks the weights of all; `2:4`
    leaves two of every four along the inputs; `1x4` is a block of 1 along the inputs and 4 along
    the outputs, `1x4 global` ranks the blocks of all kernels.

    Raises:
        RecipeError: it stands for none.
        PlanError: its numbers make no pattern.
    """
    if isinstance(text, int):
        # Of values that were read by other means than a recipe file.
        raise RecipeError(
            f"{text!r} is no pattern of zeros.",
            mend='Put it into quotes, as "2:4": YAML may read 2:4 as a number to the base of '
            "sixty.",
        )
    text = str(text).strip()
    if text in ("unstructured", "global"):
        return Unstructured("global" if text == "global" else "local")
    if found := re.fullmatch(r"(\d+):(\d+)", text):
        return NofM(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"(\d+)x(\d+)( global)?", text):
        return Block(int(found[1]), int(found[2]), "global" if found[3] else "local")
    raise RecipeError(f"{text!r} is no pattern of zeros.", mend=f"Write {FORMS}.")


def to_text(pattern: Pattern) -> str:
    """Return a pattern as a recipe writes it.

    Raises:
        RecipeError: it is of a user's own kind.
    """
    if isinstance(pattern, Unstructured):
        return "global" if pattern.scope == "global" else "unstructured"
    if isinstance(pattern, NofM):
        return f"{pattern.n}:{pattern.m}"
    if isinstance(pattern, Block):
        return f"{pattern.inputs}x{pattern.outputs}{' global' * (pattern.scope == 'global')}"
    raise RecipeError(f"{pattern!r} has no name in a recipe.", mend=f"Known are {FORMS}.")
