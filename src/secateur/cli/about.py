"""What an artifact says of itself, and its Keras model as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cli import out as sink
from secateur.cli.trusted import is_artifact, refuse_signer, secret

if TYPE_CHECKING:
    from secateur.formats.artifact import Artifact
    from secateur.formats.signing import Signer


def opened(
    path: Path, identity: Path | None, passphrase_file: Path | None, signed_by: Signer | None
) -> Artifact | None:
    """Open an artifact; None where `path` is a model file, which no key opens or signs."""
    key = secret(identity, passphrase_file, path)
    if not is_artifact(path):
        refuse_signer(path, signed_by)
        return None
    from secateur.formats.artifact import Artifact

    return Artifact.open(path, secret=key, signed_by=signed_by)


def is_secret(artifact: Artifact) -> bool:
    """Return whether nothing of an artifact may be written to a file."""
    return getattr(artifact.files, "content", None) is not None


@contextmanager
def model_file(path: Path, artifact: Artifact | None) -> Iterator[Path]:
    """Give the Keras model as a file: where it lies, or a copy of it out of a `.secateur` file."""
    if artifact is None:
        yield path
        return
    from secateur.formats.artifact import KERAS
    from secateur.formats.store import FolderStore

    content = artifact.read(KERAS)
    if isinstance(artifact.files, FolderStore):
        yield artifact.path / KERAS
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / KERAS
        file.write_bytes(content)
        yield file


def about(artifact: Artifact, *, checked: bool = False) -> None:
    """Print what the manifest says, and whether the signature was `checked`."""
    from secateur.formats.artifact import SIGNATURE

    told = artifact.manifest
    signed = "checked" if checked else "not checked"
    parity = told.parity
    rows: list[tuple[str, str]] = [
        ("made", told.created),
        ("takes", ", ".join(f"{x.name} {_shape(x.shape)} {x.dtype}" for x in told.inputs)),
        ("gives", f"{_shape(told.outputs[0].shape)} {told.output}" if told.outputs else ""),
        (
            "parity",
            f"at most {parity.max_difference:.2g} from the Keras model on {parity.rows} rows "
            f"(tolerance {parity.tolerance:.2g})",
        ),
        ("files", f"{len(told.files)}, {artifact.bytes:,} bytes"),
        ("signature", signed if SIGNATURE in artifact.files.names() else "none"),
    ]
    rows += [(name, _figure(value)) for name, value in _flat({"": told.metrics}) if value]
    rows += [(name, _figure(value)) for name, value in _flat({"": told.cost}) if value]
    rows += [(name, _figure(value)) for name, value in _flat({"before": told.baseline}) if value]
    rows += [(f"measured: {name}", how) for name, how in told.measured.items()]
    if told.versions:
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in told.versions.items())))
    sink.table(told.name, ("what", "is"), rows)
    sink.result("")


def _flat(told: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values of a mapping of mappings, by their path."""
    for key, value in told.items():
        path = " ".join(filter(None, (above, key)))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, str | int | float):
            yield path, value


def _figure(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("rows" if i == 0 else str(a or "any") for i, a in enumerate(shape)) + ")"
