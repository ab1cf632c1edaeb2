"""A race in a process of its own: where a runtime crashes, nothing else goes down with it.

`python -m secateur.cost.apart` takes what to time from standard input, and prints the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.cost.cost import Latency
from secateur.cost.race import race
from secateur.cost.runtimes import TITLE
from secateur.errors import ModelError, SecateurError


def race_apart(
    paths: Mapping[str, Path],
    *,
    runtime: str,
    batch: int,
    threads: int = 1,
    seconds: float = 2.0,
    least: int = 20,
) -> dict[str, Latency]:
    """Time exported models side by side, as `race` does, in a process of its own.

    Raises:
        ModelError: the runtime cannot run one of the models, or crashes on it; `where` names it.
        MissingExtraError: the runtime is not installed.
    """
    options = {"runtime": runtime, "batch": batch, "threads": threads}
    files = {name: str(path) for name, path in paths.items()}
    told = _ask(files, options | {"seconds": seconds, "least": least})
    if told is not None:
        return {name: Latency.model_validate(each) for name, each in told.items()}
    # Which one it was, each by itself shows.
    for name, path in files.items():
        if _ask({name: path}, options | {"seconds": 0.0, "least": 1}) is None:
            raise ModelError(
                f"{TITLE[runtime]} crashes on the model at a batch of {batch}.",
                where=name,
                mend="Use another runtime for it, or another version of this one.",
            )
    raise ModelError(
        f"{TITLE[runtime]} crashed, and on none of the models alone.",
        where=runtime,
        mend="Do it once more: what is measured already is kept.",
    )


def _ask(paths: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the other process measured; None where it crashed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "secateur.cost.apart"],
        input=json.dumps([paths, options]),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode < 0 or not lines:
        return None
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise ModelError(**answer["error"])
    return answer["times"]


def _main() -> None:
    paths, options = json.loads(sys.stdin.read())
    try:
        times = race({name: Path(path) for name, path in paths.items()}, **options)
    except SecateurError as error:
        told = {"what": error.what, "where": str(error.where), "mend": error.mend}
        print("\n" + json.dumps({"error": told}))
        return
    print("\n" + json.dumps({"times": {k: each.model_dump() for k, each in times.items()}}))


if __name__ == "__main__":
    _main()
