"""The ledger says which parts of a job are done: one line a part, written after the part is safe.

    ledger.jsonl
      {"format": 1, "model": ..., "contract": ..., "source": ..., "keys": [...], ...}   the job
      {"number": 0, "source": "a.parquet", "first": 0, "rows": ..., "scored": ..., ...}  a part done

The file is also the lock: while a process holds it, no other can score into the same folder, and
when that process ends, in whatever way, the operating system lets it go.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.errors import OutputError
from secateur.files import PARTIAL, lock
from secateur.scoring.sink import cannot_write

LEDGER = "ledger.jsonl"
QUARANTINE = "quarantine"

_ELSEWHERE = "Name another output folder."


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_L = TypeVar("_L", bound=_Line)


class Job(_Line):
    """What makes two runs the same job: the same scores, of the same data, by the same model.

    Runtimes and numbers of rows a call differ in the last digits, so they are part of it; `chunk`
    is None where it follows from the contract.
    """

    format: Literal[1] = 1
    model: str
    contract: str
    source: str
    keys: tuple[str, ...]
    probability: bool | Literal["all"]
    columns: Literal["keys", "all"] = "keys"
    compression: str = "snappy"
    runtime: str = "onnxruntime"
    chunk: int | None = None


class Entry(_Line):
    """A part that is done.

    Attributes:
        number: the number in the names of its files.
        source: the file of the source, relative to it; of a chunk of images the first.
        first: the position in that file of the part's first row.
        stamp: changes when the source's file does.
        rows: how many rows there were: scored and quarantined.
        unread: whether it could not be read at all.
        bytes: the size of its file of scores, 0 where it has none.
        quarantine_bytes: the size of its file of bad rows, 0 where it has none.
    """

    number: int = Field(ge=0)
    source: str
    first: int = Field(ge=0)
    stamp: str
    rows: int = Field(ge=0)
    scored: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    unread: bool = False
    bytes: int = 0
    quarantine_bytes: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all other parts of the source."""
        return self.source, self.first


def job_in(out: Path) -> Job | None:
    """Return the job that a folder holds; None where it holds none, or one that is not known."""
    try:
        with (out / LEDGER).open("rb") as file:
            return Job.model_validate_json(file.readline(2**20))
    except (OSError, ValidationError):
        return None


def done_in(out: Path, job: Job) -> set[tuple[str, int]]:
    """Return the keys of the parts of a job that are done, read while it may be under way.

    Raises:
        OutputError: the folder holds something else, or another job.
    """
    demand_ours(out)
    try:
        content = (out / LEDGER).read_bytes()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise OutputError(
            f"the ledger cannot be read: {error.strerror or error}.", where=out, mend=_ELSEWHERE
        ) from error
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    if not lines:
        return set()
    _check_job(out, lines[0], job, resume=True)
    parsed = [_parse(Entry, line, out, i) for i, line in enumerate(lines[1:], start=2)]
    return {entry.key for entry in _latest(parsed) if _is_there(out, entry)}


def demand_ours(out: Path) -> None:
    """Refuse a folder that is neither new nor empty nor a scoring job's."""
    try:
        taken, folder = out.exists(), out.is_dir()
        foreign = folder and any(out.iterdir()) and not (out / LEDGER).is_file()
    except OSError as error:
        raise OutputError(
            f"the folder cannot be used: {error.strerror or error}.", where=out, mend=_ELSEWHERE
        ) from error
    if taken and not folder:
        raise OutputError("there is a file of that name.", where=out, mend=_ELSEWHERE)
    if foreign:
        raise OutputError(
            f"the folder is not empty and holds no {LEDGER}, so it is not a scoring job's.",
            where=out,
            mend=_ELSEWHERE,
        )


def part_path(out: Path, number: int) -> Path:
    """Return where the scores of part `number` go."""
    return out / f"part-{number:05d}.parquet"


def quarantine_path(out: Path, number: int) -> Path:
    """Return where the bad rows of part `number` go."""
    return out / QUARANTINE / f"part-{number:05d}.parquet"


class Ledger:
    """The open ledger of an output folder; use it as a context manager.

    Attributes:
        entries: the parts that are done and whose files are there, by key.
        counts: the sums over all entries of "rows", "scored", "quarantined", "unread" parts, and
            "uncounted" parts, which are unread and of which nobody knows how many rows they have.
    """

    def __init__(self, out: Path, job: Job, *, resume: bool = True):
        """Open the ledger of `out`, or begin one.

        Raises:
            OutputError: the folder holds something else, or another job, or is in use; or a job
                is there already and `resume` is false.
        """
        self.out = out
        self.entries: dict[tuple[str, int], Entry] = {}
        self.counts: Counter[str] = Counter()
        self._file = _open(out)
        try:
            lines = _whole_lines(self._file)
            if not lines:
                self._append(job)
            else:
                _check_job(out, lines[0], job, resume=resume)
                parsed = [_parse(Entry, line, out, i) for i, line in enumerate(lines[1:], start=2)]
                for entry in _latest(parsed):
                    if _is_there(out, entry):
                        self._add(entry)
            self._remove_strays()
        except BaseException:
            self._file.close()
            raise

    def append(self, entry: Entry) -> None:
        """Write down that a part is done; its files must be in place."""
        self._append(entry)
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.entries[entry.key] = entry
        self.counts += Counter(
            rows=entry.rows,
            scored=entry.scored,
            quarantined=entry.quarantined,
            unread=entry.unread,
            uncounted=entry.unread and not entry.rows,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # On a full disk closing fails too, and is then of no interest.
        with contextlib.suppress(OSError):
            self._file.close()

    def _append(self, line: _Line) -> None:
        try:
            self._file.write(line.model_dump_json().encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.out / LEDGER, error) from error

    def _remove_strays(self) -> None:
        """Remove the files that no part owns: a process was killed while it wrote them."""
        owned = {part_path(self.out, e.number) for e in self.entries.values()}
        owned |= {quarantine_path(self.out, e.number) for e in self.entries.values()}
        for folder in (self.out, self.out / QUARANTINE):
            for file in [*folder.glob("part-*.parquet"), *folder.glob(f"*{PARTIAL}")]:
                if file.is_dir():
                    # A task whose node was given up may still write there, in vain.
                    shutil.rmtree(file, ignore_errors=True)
                elif file not in owned:
                    file.unlink()


def _open(out: Path) -> IO[bytes]:
    """Open and lock the ledger, in a folder that is empty or has one."""
    path = out / LEDGER
    demand_ours(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise cannot_write(path, error) from error
    if not lock(file):
        file.close()
        raise OutputError(
            "another process is scoring into this folder.",
            where=out,
            mend="Wait until it ends, or name another output folder.",
        )
    return file


def _whole_lines(file: IO[bytes]) -> list[bytes]:
    """Return all lines; a last one that a crash cut short is removed."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        file.truncate(end)
    return content[:end].splitlines()


def _parse(kind: type[_L], line: bytes, out: Path, number: int) -> _L:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise OutputError(
            f"line {number} of the ledger is not one that secateur wrote.",
            where=out / LEDGER,
            mend=_ELSEWHERE,
        ) from error


def _latest(entries: Sequence[Entry]) -> list[Entry]:
    """Return the last entry of each part and of each number, in order.

    A part that was lost and done again has two lines; and what was its number may have gone to
    another part, whose files then lie under it.
    """
    seen: set[object] = set()
    found = []
    for entry in reversed(entries):
        if not seen & {entry.key, entry.number}:
            found.append(entry)
        seen |= {entry.key, entry.number}
    return found[::-1]


def _check_job(out: Path, line: bytes, job: Job, *, resume: bool) -> None:
    found = _parse(Job, line, out, 1)
    if not resume:
        raise OutputError("the folder holds a scoring job.", where=out, mend=_ELSEWHERE)
    for name in Job.model_fields:
        before, now = getattr(found, name), getattr(job, name)
        if before != now:
            raise OutputError(
                f"the folder belongs to another job: its {name} is {_short(before)}, "
                f"and now it is {_short(now)}.",
                where=out,
                mend=_ELSEWHERE,
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:13]}...{text[-10:]}"


def _is_there(out: Path, entry: Entry) -> bool:
    files = {
        part_path(out, entry.number): entry.bytes,
        quarantine_path(out, entry.number): entry.quarantine_bytes,
    }
    return all(
        path.is_file() and path.stat().st_size == size for path, size in files.items() if size
    )
