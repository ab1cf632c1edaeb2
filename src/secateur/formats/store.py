"""Where an artifact's files are: in a folder or in one `.secateur` file, on disk or in memory.

A `.secateur` file is a zip whose members are stored as they are, so that it is read where it lies
and can never grow as it is read. Nothing here writes.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from secateur.errors import ArtifactError

ENDING = ".secateur"
# An artifact has some ten files; the names of more than this are not even listed.
MOST_FILES = 1000
# A page of text; more than this is not one, and is not worth parsing.
TEXT_LIMIT = 16 * 2**20

_MADE_BY_OTHERS = "Copy the artifact again from where it was made, or export the model again."
_BLOCK = 2**20
# What reading the directory of a zip that is damaged ends in.
_BROKEN = (
    zipfile.BadZipFile,
    ValueError,
    NotImplementedError,
    OverflowError,
    OSError,
    struct.error,
)


class Store(Protocol):
    """Named files that can be read."""

    @property
    def place(self) -> Path:
        """What the user named."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the path of every file, with `/` between parts, in order."""
        ...

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        ...

    def stream(self, name: str) -> IO[bytes]:
        """Open a file to read; close it."""
        ...

    def where(self, name: str) -> str:
        """Return how an error names a file."""
        ...


@dataclass(frozen=True)
class FolderStore:
    """The files below a folder."""

    place: Path

    def names(self) -> tuple[str, ...]:
        """Return the path of every file below the folder."""
        found: list[str] = []
        for path in self.place.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                continue
            found.append(path.relative_to(self.place).as_posix())
            if len(found) > MOST_FILES:
                raise _too_many(self.place)
        return tuple(sorted(found))

    def size(self, name: str) -> int:
        """Return the bytes of a file; raises `OSError` where it is none."""
        return (self.place / name).stat().st_size

    def stream(self, name: str) -> IO[bytes]:
        """Open a file; what is no plain file, as a pipe or a device, is refused."""
        path = self.place / name
        if not path.is_file():
            raise ArtifactError("this is not a plain file.", where=path, mend=_MADE_BY_OTHERS)
        return path.open("rb")

    def where(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.place / name)


@dataclass(frozen=True)
class ZipStore:
    """The members of a zip whose members are all stored as they are.

    Args:
        place: the file, or what a zip in memory was opened from.
        content: the zip's bytes, where it is in memory alone.
    """

    place: Path
    content: bytes | None = field(default=None, repr=False)

    def names(self) -> tuple[str, ...]:
        """Return the path of every member.

        Raises:
            ArtifactError: it is no zip, or not one that secateur writes.
        """
        return tuple(sorted(self._members))

    def size(self, name: str) -> int:
        """Return the bytes of a member."""
        return self._members[name].file_size

    @contextmanager
    def _zip(self) -> Iterator[zipfile.ZipFile]:
        source = self.place if self.content is None else io.BytesIO(self.content)
        try:
            with zipfile.ZipFile(source) as opened:
                yield opened
        except _BROKEN as error:
            raise ArtifactError(
                f"the file cannot be read as a zip ({error}).",
                where=self.place,
                mend=_MADE_BY_OTHERS,
            ) from error

    def stream(self, name: str) -> IO[bytes]:
        """Open a member; its checksum is not looked at, since its hash is."""
        member, (total, source) = self._members[name], self._source()
        with source:
            inside = 0 <= member.header_offset < total
            source.seek(member.header_offset if inside else 0)
            head = source.read(30) if inside else b""
            # The local header may pad its fields otherwise than the directory at the end does.
            lengths = (int.from_bytes(head[i : i + 2], "little") for i in (26, 28))
            start = member.header_offset + 30 + sum(lengths)
        if head[:4] != b"PK\x03\x04" or start + member.file_size > total:
            raise ArtifactError(
                f"the zip's directory says of {name} what is not so.",
                where=self.place,
                mend=_MADE_BY_OTHERS,
            )
        return io.BufferedReader(_Part(self._source()[1], start, member.file_size))

    def where(self, name: str) -> str:
        """Return the zip with the member's path."""
        return f"{self.place}:{name}"

    def _source(self) -> tuple[int, IO[bytes]]:
        if self.content is not None:
            return len(self.content), io.BytesIO(self.content)
        return self.place.stat().st_size, self.place.open("rb")

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        found: dict[str, zipfile.ZipInfo] = {}
        with self._zip() as opened:
            members = opened.infolist()
        if len(members) > MOST_FILES:
            raise _too_many(self.place)
        for member in members:
            if member.filename.endswith("/"):
                continue
            what = None
            if not plain_name(member.filename):
                what = f"holds {member.filename!r}, which is outside the artifact"
            elif member.filename in found:
                what = f"holds {member.filename} twice"
            elif member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                what = f"holds {member.filename} compressed or encrypted"
            elif member.external_attr >> 28 == 0xA:
                what = f"holds {member.filename} as a link"
            if what is not None:
                raise ArtifactError(
                    f"the file {what}: secateur writes no such thing.",
                    where=self.place,
                    mend="Make it with `secateur pack`.",
                )
            found[member.filename] = member
        total = self._source_size()
        if sum(member.file_size for member in found.values()) > total:
            raise ArtifactError(
                "the zip's members are larger than the zip.", where=self.place, mend=_MADE_BY_OTHERS
            )
        return found

    def _source_size(self) -> int:
        return self.place.stat().st_size if self.content is None else len(self.content)


class _Part(io.RawIOBase):
    """A stretch of a file as a file of its own."""

    def __init__(self, source: IO[bytes], start: int, length: int):
        self._source = source
        self._left = length
        source.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # pyright: ignore[reportMissingParameterType]
        found = self._source.read(min(len(buffer), self._left))
        buffer[: len(found)] = found
        self._left -= len(found)
        return len(found)

    def close(self) -> None:
        self._source.close()
        super().close()


def plain_name(name: str) -> bool:
    """Return whether a name is that of a file below a folder, on any system."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and name == path.as_posix()
        and not path.is_absolute()
        and not {"..", "."} & set(path.parts)
        and not any(mark in name for mark in ("\0", "\\", ":"))
    )


def sha256_of(store: Store, name: str) -> str:
    """Return the hash of a file, read in blocks."""
    digest = hashlib.sha256()
    with store.stream(name) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_text(store: Store, name: str) -> bytes:
    """Return a file that is a page of text.

    Raises:
        ArtifactError: it is too large for one, or cannot be read.
    """
    try:
        if (size := store.size(name)) > TEXT_LIMIT:
            raise ArtifactError(
                f"the file has {size:,} bytes; at most {TEXT_LIMIT:,} are read.",
                where=store.where(name),
                mend=_MADE_BY_OTHERS,
            )
        with store.stream(name) as stream:
            return stream.read(TEXT_LIMIT)
    except OSError as error:
        raise ArtifactError(
            f"the file cannot be read ({error.strerror or error}).", where=store.where(name)
        ) from error


def _too_many(place: Path) -> ArtifactError:
    return ArtifactError(
        f"it holds more than {MOST_FILES:,} files, so it is not an artifact.",
        where=place,
        mend="Name what `export` wrote.",
    )
