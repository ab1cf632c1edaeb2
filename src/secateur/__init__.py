"""secateur makes a Keras model cheap enough to run over all of a large data set, and proves it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from secateur.errors import SecateurError

if TYPE_CHECKING:
    from secateur.cost.measure import measure
    from secateur.data.dataset import Dataset
    from secateur.data.read import read
    from secateur.formats.onnx import export
    from secateur.graph.observe import observe
    from secateur.graph.trace import trace
    from secateur.models.load import load_model as load
    from secateur.planning.plan import Plan, plan
    from secateur.reporting.report import report
    from secateur.scoring.score import score
    from secateur.steps.chain import chain
    from secateur.steps.cutting import cut
    from secateur.steps.factorize import Factorize
    from secateur.steps.finetune import FineTune
    from secateur.steps.healing import heal
    from secateur.steps.masks import mask
    from secateur.steps.prune import Prune
    from secateur.steps.regularize import Regularize
    from secateur.steps.sparsify import Sparsify

__version__ = "0.1.0"

# Loaded on first use, so that `import secateur` starts no TensorFlow.
_HOMES = {
    "Dataset": "secateur.data.dataset",
    "Factorize": "secateur.steps.factorize",
    "FineTune": "secateur.steps.finetune",
    "Plan": "secateur.planning.plan",
    "Prune": "secateur.steps.prune",
    "Regularize": "secateur.steps.regularize",
    "Sparsify": "secateur.steps.sparsify",
    "chain": "secateur.steps.chain",
    "cut": "secateur.steps.cutting",
    "export": "secateur.formats.onnx",
    "heal": "secateur.steps.healing",
    "load": "secateur.models.load:load_model",
    "mask": "secateur.steps.masks",
    "measure": "secateur.cost.measure",
    "observe": "secateur.graph.observe",
    "plan": "secateur.planning.plan",
    "read": "secateur.data.read",
    "report": "secateur.reporting.report",
    "score": "secateur.scoring.score",
    "trace": "secateur.graph.trace",
}

__all__ = [
    "Dataset",
    "Factorize",
    "FineTune",
    "Plan",
    "Prune",
    "Regularize",
    "SecateurError",
    "Sparsify",
    "chain",
    "cut",
    "export",
    "heal",
    "load",
    "mask",
    "measure",
    "observe",
    "plan",
    "read",
    "report",
    "score",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'secateur' has no attribute {name!r}")
    home, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(home), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
