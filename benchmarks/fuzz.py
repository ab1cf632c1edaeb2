"""Feed every reader damaged and hostile files, and count what comes of it.

    python benchmarks/fuzz.py                  # all readers, more than 100,000 inputs
    python benchmarks/fuzz.py --share 0.01     # a look, in a minute or two
    python benchmarks/fuzz.py --reader image   # one reader

Each reader runs in a process of its own, so that a crash of a library counts and stops no other.
Inputs are sound files that are damaged at random: bits flipped, bytes cut, doubled, exchanged
between files, numbers made extreme and, in JSON and YAML, values put where others belong. One
line a reader: inputs, how many were read, how many were refused by an error of ours, and how many
ended otherwise (a crash), the slowest input in seconds of processor time (more than 5 is a hang),
and by how many MB the memory of the process grew at its peak. It leaves with 1 on any crash,
hang, or growth past the bound.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from fuzz_readers import COUNTS, READERS

HANG_SECONDS = 5.0
BOUND_MB = 1024
# A reader may stop early, with what it has, so that a slow machine still shows a table.
MOST_SECONDS = 3600.0

_NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 10**30, 1e308, 0.5)
_TEXTS = ("", "NaN", "../x", "/etc/passwd", "\0", "é\u202e", "a" * 5000, "-", "1e999")
_VALUES = (*_NUMBERS, *_TEXTS, None, True, [], {}, [[]], {"": {}}, float("nan"), float("inf"))


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a sound file damaged in one to four ways."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        way = rng.randrange(8)
        at = rng.randrange(len(made) + 1) if made else 0
        length = min(len(made) - at, rng.choice((1, 2, 4, 8, 64, 1024)))
        if way == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif way == 1 and at < len(made):
            made[at] = rng.randrange(256)
        elif way == 2:
            made[at : at + length] = b""
        elif way == 3:
            made[at:at] = made[at : at + length] * rng.choice((1, 2, 50))
        elif way == 4:
            value = rng.choice((0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            width = rng.choice((1, 2, 4, 8))
            made[at : at + width] = (value % 2 ** (8 * width)).to_bytes(
                width, rng.choice(("little", "big"))
            )
        elif way == 5:
            made[at : at + length] = rng.randbytes(length)
        elif way == 6:
            del made[at:]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            made[at : at + length] = other[start : start + length]
    return bytes(made)


def disorder(content: bytes, rng: random.Random) -> bytes:
    """Return JSON with values put where others belong."""
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places: list[tuple[object, object]] = []
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            inner = node.items() if isinstance(node, dict) else enumerate(node)
            for key, value in inner:
                places.append((node, key))
                if isinstance(value, (dict, list)):
                    waiting.append(value)
        if not places:
            break
        node, key = rng.choice(places)
        way = rng.randrange(6)
        if way == 0:
            del node[key]  # type: ignore[attr-defined]
        elif way == 1 and isinstance(node, dict):
            node[rng.choice(_TEXTS)] = copy.deepcopy(rng.choice(_VALUES))
        elif way == 2:
            other, place = rng.choice(places)
            # A copy, for a tree that holds itself is no JSON.
            try:
                node[key] = json.loads(json.dumps(other[place]))  # type: ignore[index]
            except (KeyError, IndexError, ValueError, RecursionError):
                continue
        elif way == 3:
            deep: object = 0
            for _ in range(rng.choice((10, 500))):
                deep = [deep]
            node[key] = deep  # type: ignore[index]
        else:
            node[key] = copy.deepcopy(rng.choice(_VALUES))  # type: ignore[index]
    try:
        return json.dumps(tree).encode()
    except RecursionError:
        return b"[" * 100_000


class HangError(BaseException):
    """An input took too long."""


def _hang(*about: object) -> None:
    raise HangError


def work(name: str, count: int, seed: int, folder: Path) -> dict[str, object]:
    """Feed one reader and return what came of it."""
    from secateur.errors import SecateurError

    warnings.simplefilter("ignore")
    kind, prepare = READERS[name]
    seeds, read = prepare(folder)
    rng = random.Random(f"{name} {seed}")
    path = folder / f"input{kind}"
    signal.signal(signal.SIGPROF, _hang)
    for each in seeds:
        path.write_bytes(each)
        read(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends: Counter[str] = Counter()
    crashes: dict[str, str] = {}
    slowest, began = 0.0, time.monotonic()
    for _ in range(count):
        chosen = rng.choice(seeds)
        structured = kind in (".json", ".yaml") and rng.random() < 0.6
        content = disorder(chosen, rng) if structured else damage(chosen, seeds, rng)
        path.write_bytes(content)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 4 * HANG_SECONDS)
        try:
            read(path)
            end = "read"
        except SecateurError:
            end = "refused"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            end = "hang" if isinstance(error, HangError) else "crash"
            where = traceback.extract_tb(error.__traceback__)
            ours = [each for each in where if "secateur" in each.filename] or list(where)
            key = f"{type(error).__name__} {Path(ours[-1].filename).name}:{ours[-1].lineno}"
            if key not in crashes:
                crashes[key] = "".join(traceback.format_exception(error))[-1500:]
                (folder.parent / f"crash-{name}-{len(crashes)}{kind}").write_bytes(content)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        ends[end] += 1
        slowest = max(slowest, time.process_time() - start)
        if time.monotonic() - began > MOST_SECONDS:
            break
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "inputs": ends.total(),
        "read": ends["read"],
        "refused": ends["refused"],
        "crashes": ends["crash"],
        "hangs": ends["hang"],
        "slowest": round(slowest, 2),
        "grown": round(grown),
        "kinds": crashes,
    }


def run(name: str, count: int, seed: int, home: Path) -> dict[str, object]:
    """Feed one reader in a process of its own."""
    folder = home / name
    folder.mkdir()
    command = [sys.executable, __file__, "--work", name, str(count), str(seed), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"inputs": count, "crashes": 1, "kinds": {f"exit {done.returncode}": done.stderr}}


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        name, count, seed, folder = sys.argv[2:]
        # What libraries print of themselves is not the answer.
        answer = os.dup(1)
        os.dup2(2, 1)
        told = json.dumps(work(name, int(count), int(seed), Path(folder)))
        os.write(answer, told.encode() + b"\n")
        os._exit(0)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", choices=sorted(READERS))
    parser.add_argument("--keep", type=Path, help="a folder for inputs that crash")
    asked = parser.parse_args()
    titles = ("inputs", "read", "refused", "crashes", "hangs", "slowest", "grown")
    print("| reader | inputs | read | refused | crashes | hangs | slowest (s) | memory (MB) |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    total: Counter[str] = Counter()
    bad = False
    with tempfile.TemporaryDirectory() as temporary:
        home = asked.keep or Path(temporary)
        home.mkdir(exist_ok=True, parents=True)
        for name in asked.reader or READERS:
            count = max(1, round(COUNTS[name] * asked.share))
            found = run(name, count, asked.seed, home)
            cells = [found.get(title, 0) for title in titles]
            print(f"| {name} | " + " | ".join(f"{each:,}" for each in cells) + " |", flush=True)
            for title in titles[:5]:
                total[title] += int(found.get(title, 0))  # type: ignore[call-overload]
            bad |= bool(found.get("crashes") or found.get("hangs"))
            bad |= float(found.get("slowest", 0)) > HANG_SECONDS  # type: ignore[arg-type]
            bad |= float(found.get("grown", 0)) > BOUND_MB  # type: ignore[arg-type]
            for kind, text in found.get("kinds", {}).items():  # type: ignore[attr-defined]
                print(f"{name}: {kind}\n{text}", file=sys.stderr, flush=True)
    print("| all | " + " | ".join(f"{total[title]:,}" for title in titles[:5]) + " | | |")
    sys.exit(bad)


if __name__ == "__main__":
    main()
