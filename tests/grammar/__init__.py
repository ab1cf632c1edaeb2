"""Random models from a grammar of layers and merges.

A program is a list of plain steps, so that a failing one prints, shrinks and can be run again:
`build(program)`. Each step takes tensors that are there and adds one; a step that fits none of
them is passed over.
"""

from grammar import anywhere, images, sequences  # noqa: F401  (they register steps)
from grammar.core import STEPS, Step, build, programs

__all__ = ["STEPS", "Step", "build", "programs"]
