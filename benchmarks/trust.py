"""Tamper with a signed artifact in every way there is, and show what verify and score say of it.

    python benchmarks/trust.py

A small model is trained on made-up rows, exported, signed and sealed. Each line of the table is
one kind of tampering: what `secateur verify --key` named, what `secateur score --signed-by` said,
and the exit code of each. The script fails if any of them lets the artifact pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MANIFEST, MODEL, SIGNATURE = "manifest.json", "model.onnx", "model.sig"


class Case(NamedTuple):
    """One kind of tampering.

    `names` are the files that must be named; `extra` are further options of the command.
    """

    what: str
    artifact: Path
    names: tuple[str, ...]
    key: Path
    extra: tuple[str, ...] = ()


class Keys(NamedTuple):
    """The keys of the two who sign, and of the two who open."""

    public: Path
    other_private: Path
    other_public: Path
    identity: Path
    other_identity: Path


def make_keys(folder: Path) -> tuple[Path, Keys, str]:
    """Return the private key, all the others, and the recipient to seal to."""
    from secateur.formats import sealing, signing

    folder.mkdir()
    public = signing.new_key(folder / "mine.pem")
    other = signing.new_key(folder / "other.pem")
    recipient = sealing.new_identity(folder / "mine.age")
    sealing.new_identity(folder / "other.age")
    keys = Keys(public, folder / "other.pem", other, folder / "mine.age", folder / "other.age")
    return folder / "mine.pem", keys, recipient


def flip(file: Path, at: int | None = None) -> None:
    """Change one bit of a byte in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    file.write_bytes(content)


def cases(signed: Path, sealed: Path, keys: Keys, work: Path) -> Iterator[Case]:
    """Yield every kind of tampering with a signed artifact, each on a copy of its own."""
    files = sorted(file.relative_to(signed).as_posix() for file in signed.rglob("*"))

    def copy(change: Callable[[Path], object]) -> Path:
        target = work / f"case-{len(list(work.iterdir())):02d}"
        shutil.copytree(signed, target)
        change(target)
        return target

    def swap(folder: Path, one: str, other: str) -> None:
        (folder / one).rename(folder / "kept")
        (folder / other).rename(folder / one)
        (folder / "kept").rename(folder / other)

    for name in files:
        made = copy(lambda folder, name=name: flip(folder / name))
        yield Case(f"one bit of {name} flipped", made, (name,), keys.public)
    for name in files:
        made = copy(lambda folder, name=name: (folder / name).unlink())
        yield Case(f"{name} removed", made, (name,), keys.public)
    made = copy(lambda folder: (folder / "extra.py").write_text("print()"))
    yield Case("a file added", made, ("extra.py",), keys.public)
    pair = tuple(name for name in files if name not in (MANIFEST, SIGNATURE))[:2]
    made = copy(lambda folder: swap(folder, *pair))
    yield Case(f"{pair[0]} and {pair[1]} swapped", made, pair, keys.public)
    made = copy(lambda folder: _consistent(folder))
    yield Case(
        f"{MODEL} exchanged, and the manifest made to fit",
        made,
        (MANIFEST, MODEL),
        keys.public,
    )
    made = copy(lambda folder: sign(folder, keys.other_private))
    yield Case("signed with another key", made, (SIGNATURE,), keys.public)
    yield Case("checked with another key", signed, (SIGNATURE,), keys.other_public)
    opened = ("--identity", str(keys.identity))
    wrong = ("--identity", str(keys.other_identity))
    yield Case("sealed, opened with a wrong key", sealed, (sealed.name,), keys.public, wrong)
    yield Case("sealed, opened without a key", sealed, (sealed.name,), keys.public)
    for part, at in (("head", 60), ("middle", None), ("end", -1)):
        target = work / f"{part}-{sealed.name}"
        shutil.copyfile(sealed, target)
        flip(target, at)
        yield Case(
            f"sealed, one bit of its {part} flipped", target, (target.name,), keys.public, opened
        )
    target = work / f"short-{sealed.name}"
    target.write_bytes(sealed.read_bytes()[:-100])
    yield Case("sealed, cut short", target, (target.name,), keys.public, opened)


def _consistent(folder: Path) -> None:
    """Exchange the model as somebody would who knows the format, but has no key."""
    import json

    from secateur.formats.artifact import entry_for, files_of

    flip(folder / MODEL)
    told = json.loads((folder / MANIFEST).read_text())
    told["files"] = [entry_for(folder, file).model_dump() for file in files_of(folder)]
    (folder / MANIFEST).write_text(json.dumps(told))


def sign(folder: Path, key: Path) -> None:
    """Sign an artifact, in place of a signature that it has."""
    from secateur.formats import archive, signing
    from secateur.formats.store import FolderStore

    (folder / SIGNATURE).unlink(missing_ok=True)
    store = FolderStore(folder)
    archive.add_signature(store, signing.signature_of(store, key))


def _made(home: Path) -> Path:
    """Train, export and return an artifact."""
    import keras
    import numpy as np
    import pandas as pd

    import secateur

    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(400, 4)), columns=list("abcd"))
    frame["y"] = np.where(frame["a"] + frame["b"] > 0, "yes", "no")
    frame.to_csv(home / "data.csv", index=False)
    data = secateur.read(home / "data.csv", target="y")
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2, "softmax")]
    )
    secateur.export(model, home / "artifact", contract=data.contract)
    frame.drop(columns="y").to_csv(home / "rows.csv", index=False)
    return home / "artifact"


def _run(*arguments: str | Path) -> tuple[int, str]:
    program = "import sys; from secateur.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def main() -> None:
    from secateur.formats import archive, sealing
    from secateur.formats.artifact import Artifact

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        signed, sealed = _made(home), home / "artifact.secateur.age"
        private, keys, recipient = make_keys(home / "keys")
        sign(signed, private)
        sealing.seal(archive.packed(Artifact.open(signed).files), sealed, recipients=[recipient])
        work = home / "work"
        work.mkdir()
        sound = [
            _run("verify", signed, "--key", keys.public),
            _run("verify", sealed, "--key", keys.public, "--identity", keys.identity),
            _run(
                "score",
                sealed,
                home / "rows.csv",
                home / "scored",
                "--signed-by",
                keys.public,
                "--identity",
                keys.identity,
            ),
        ]
        if any(code for code, _ in sound):
            sys.exit(f"what is sound does not pass: {sound}")
        print("| tampering | verify | score | named |")
        print("|---|---|---|---|")
        missed = 0
        for case in cases(signed, sealed, keys, work):
            check = _run("verify", case.artifact, "--key", case.key, *case.extra)
            use = _run(
                "score",
                case.artifact,
                home / "rows.csv",
                home / "bad",
                "--signed-by",
                case.key,
                *case.extra,
            )
            unnamed = [name for name in case.names if name not in check[1]]
            missed += not check[0] or not use[0] or bool(unnamed) or (home / "bad").exists()
            print(
                f"| {case.what} | exit {check[0]} | exit {use[0]} | "
                f"{', '.join(case.names) if not unnamed else f'NOT {unnamed}'} |"
            )
        print(f"\n{missed} missed")
        sys.exit(bool(missed))


if __name__ == "__main__":
    main()
