"""Look at a LiteRT file in a process of its own, which it can end and nothing else.

LiteRT trusts much of what a file says: one that was made with intent can make it write past its
memory, which ends the process.

    python -m secateur.formats.probing < FILE      # exits with 0 and one line of JSON
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from importlib import util
from typing import Any, NamedTuple

from secateur.errors import ArtifactError
from secateur.formats.manifest import Manifest, TensorSpec

REFUSED = 3
PROBE_SECONDS = 120
_SECONDS = 60
_MEMORY = 8 * 2**30
_MEND = "Export the model again, or do not use its file for LiteRT."

Shape = tuple[int | None, ...]


class Tensor(NamedTuple):
    """A tensor by LiteRT's name for it, and its shape, `None` where an axis is free."""

    name: str
    shape: Shape


def has_litert() -> bool:
    """Return whether LiteRT is installed."""
    return util.find_spec("ai_edge_litert") is not None


def check_litert(content: bytes, manifest: Manifest, where: str) -> None:
    """Refuse a LiteRT file that cannot be opened, or takes or gives other than the manifest says.

    Raises:
        ArtifactError: says what is wrong with the file.
    """
    inputs, outputs = _look(content, where)
    if len(manifest.inputs) == len(inputs) == 1:
        found = inputs
    else:
        # The converter makes its own names of the model's.
        own = {
            each.name.removeprefix("serving_default_").rpartition(":")[0]: each for each in inputs
        }
        own |= {each.name: each for each in inputs}
        found = [own.get(spec.name) for spec in manifest.inputs]
        if len(inputs) > len(found):
            found.append(next(each for each in inputs if each not in found))
    pairs = (
        *itertools.zip_longest(manifest.inputs, found),
        *itertools.zip_longest(manifest.outputs, outputs),
    )
    for spec, tensor in pairs:
        if spec is None or tensor is None or not _fits(spec, tensor):
            told = None if spec is None else (spec.name, spec.shape[1:])
            true = None if tensor is None else (tensor.name, tensor.shape[1:])
            raise ArtifactError(
                f"the manifest says that the model has {told}, and it has {true}.",
                where=where,
                mend=_MEND,
            )


def _fits(spec: TensorSpec, tensor: Tensor) -> bool:
    axes, others = spec.shape[1:], tensor.shape[1:]
    return len(axes) == len(others) and all(
        one is None or other is None or one == other
        for one, other in zip(axes, others, strict=True)
    )


def _look(content: bytes, where: str) -> tuple[list[Tensor], list[Tensor]]:
    command = [sys.executable, "-P", "-m", "secateur.formats.probing"]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=PROBE_SECONDS)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise ArtifactError(
            "LiteRT does not open the file to its end.", where=where, mend=_MEND
        ) from error
    said = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if done.returncode == REFUSED:
        raise ArtifactError(f"LiteRT cannot open the model ({said}).", where=where, mend=_MEND)
    if done.returncode:
        raise ArtifactError(
            f"LiteRT breaks down on the file (exit code {done.returncode}).",
            where=where,
            mend=_MEND,
        )
    inputs, outputs = (
        [Tensor(name, tuple(n if n > 0 else None for n in shape)) for name, shape in each]
        for each in json.loads(said)
    )
    return inputs, outputs


def _open(content: bytes) -> list[list[tuple[str, list[int]]]]:
    """Return names and shapes of inputs and outputs, once the interpreter has laid out all."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details(), interpreter.get_output_details()
    return [[(one["name"], one["shape_signature"].tolist()) for one in each] for each in details]


def _bound() -> None:
    """Let the system end this process where it takes too much."""
    try:
        import resource
    except ImportError:  # Windows, where the caller's clock has to do
        return
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _main() -> int:
    from secateur.formats.runners import first_line

    _bound()
    try:
        print(json.dumps(_open(sys.stdin.buffer.read())))
    except Exception as error:
        print(first_line(error))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
