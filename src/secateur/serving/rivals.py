"""One or two artifacts that answer the same inputs, side by side and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from secateur.data.contract import Contract
from secateur.errors import ArtifactError, DataError
from secateur.formats.artifact import MODEL, Artifact
from secateur.formats.predictor import Predictor
from secateur.formats.signing import Signer

TOP = 5
_CALLS, _SECONDS = 25, 0.25
# What a run's folder calls the model before the steps.
_BASELINE = "baseline"

Inputs = np.ndarray | Mapping[str, np.ndarray]
Given = Artifact | str | Path


@dataclass(frozen=True)
class Rival:
    """An artifact under the name that the page gives it."""

    title: str
    predictor: Predictor

    @property
    def bytes(self) -> int:
        """The size of the ONNX file."""
        return self.predictor.artifact.entry(MODEL).bytes


class Rivals:
    """The models of a page: the full one first where there are two.

    Args:
        artifact: the model to try.
        beside: another one to see beside it; where None, the baseline that lies in the same run
            folder, if there is one.
        signed_by: whose signature those must carry that are not opened yet.

    Raises:
        ArtifactError: an artifact is not whole, has no contract, reads other data than the
            first, or is not signed as it must be.
    """

    def __init__(
        self, artifact: Given, beside: Given | None = None, *, signed_by: Signer | None = None
    ):
        first = _opened(artifact, signed_by)
        if beside is None:
            other = _beside(first.path, first, signed_by)
        else:
            other = _opened(beside, signed_by)
        self.contract: Contract = _contract_of(first)
        if other is not None:
            _check_alike(first, other)
        if other is None:
            self.all = (Rival(first.manifest.name, Predictor(first)),)
        elif beside is None:
            self.all = (
                Rival("Full model", Predictor(other)),
                Rival("Pruned model", Predictor(first)),
            )
        else:
            named = [other.manifest.name, first.manifest.name]
            if named[0] == named[1]:
                named = [str(other.path), str(first.path)]
            self.all = tuple(
                Rival(name, Predictor(one)) for name, one in zip(named, (other, first), strict=True)
            )
        # One answer at a time: two at once would slow each other, and the times would say so.
        self._turn = Lock()

    @property
    def name(self) -> str:
        """What the manifest calls the model that is tried."""
        return self.all[-1].predictor.manifest.name

    def answer(self, x: Inputs) -> list[dict[str, Any]]:
        """Return what each model says of one row, and the milliseconds that it takes.

        The models are called in turn, some times over; the time is the median.

        Raises:
            DataError: a model answers with what is no finite number.
        """
        with self._turn:
            outputs = [_finite(one, one.predictor.predict(x)[0]) for one in self.all]
            taken: list[list[float]] = [[] for _ in self.all]
            end = time.perf_counter() + _SECONDS
            while len(taken[0]) < _CALLS and (not taken[0] or time.perf_counter() < end):
                for place, one in enumerate(self.all):
                    start = time.perf_counter()
                    one.predictor.predict(x)
                    taken[place].append(time.perf_counter() - start)
        return [
            {
                "title": one.title,
                "milliseconds": float(np.median(times)) * 1000,
                "calls": len(times),
                "best": _best(output, self.contract),
            }
            for one, output, times in zip(self.all, outputs, taken, strict=True)
        ]


def _finite(one: Rival, output: np.ndarray) -> np.ndarray:
    if not np.isfinite(output).all():
        raise DataError(
            f"{one.title} answers with what is no finite number.",
            where=one.predictor.artifact.path,
            mend="Try other values, or do not use the model.",
        )
    return output


def _best(output: np.ndarray, contract: Contract) -> list[dict[str, Any]]:
    if not contract.classes:
        return [{"label": f"{float(output[0]):.5g}", "share": None}]
    order = np.argsort(-output, kind="stable")[:TOP]
    return [{"label": contract.classes[i], "share": float(output[i])} for i in order]


def _opened(given: Given, signed_by: Signer | None) -> Artifact:
    artifact = given if isinstance(given, Artifact) else Artifact.open(given, signed_by=signed_by)
    _contract_of(artifact)
    return artifact


def _contract_of(artifact: Artifact) -> Contract:
    if artifact.contract is None:
        raise ArtifactError(
            "the artifact has no contract, so nothing says what it reads.",
            where=artifact.path,
            mend="Export the model with `--contract` or `--data`.",
        )
    if artifact.manifest.output not in ("probabilities", "logits", "value"):
        raise ArtifactError(
            f"the artifact gives {artifact.manifest.output}, which are no predictions.",
            where=artifact.path,
            mend="Export the whole model.",
        )
    return artifact.contract


def _beside(path: Path, artifact: Artifact, signed_by: Signer | None) -> Artifact | None:
    """Return the baseline of the run that the artifact came out of."""
    place = path.resolve().parent / _BASELINE
    if place == path.resolve() or not (place / "manifest.json").is_file():
        return None
    found = Artifact.open(place, signed_by=signed_by)
    same = found.contract is not None and found.contract == artifact.contract
    return found if same else None


def _check_alike(first: Artifact, other: Artifact) -> None:
    one, two = _contract_of(first), _contract_of(other)
    if one.inputs() != two.inputs() or one.classes != two.classes or one.columns != two.columns:
        raise ArtifactError(
            f"it reads or answers other things than {first.path}: {_told(two)}, not {_told(one)}.",
            where=other.path,
            mend="Name an artifact of the same data.",
        )


def _told(contract: Contract) -> str:
    inputs = ", ".join(
        f"{name} {'x'.join(map(str, shape))}" for name, (shape, _) in contract.inputs().items()
    )
    return f"{inputs} to {len(contract.classes) or 'a number'}" + (
        " classes" if contract.classes else ""
    )
