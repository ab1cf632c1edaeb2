"""Tar files of images, as WebDataset writes them, become samples in the order of the file.

    000000.jpg 000000.cls 000001.jpg 000001.cls ...

What stands before the first dot of a name is its sample's key. A shard is streamed, never unpacked,
and the names in it are never used as paths.

References:
    Aizman et al., "High Performance I/O For Large Scale Deep Learning", 2019.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa

from secateur.data.images import SUFFIXES
from secateur.data.places import Place, at, failure, is_hidden, open_file, open_stream, told
from secateur.errors import DataError

_BUFFER = 2**20
_LABEL_BYTES = 2**20
_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, pa.ArrowException)


@dataclass
class Sample:
    """The files of one key.

    Attributes:
        key: the name that they share, folders and all.
        image: the bytes of the image; None where there is none to read.
        reason: why there is none.
        place: where the image's bytes are in the tar file, (first, how many); of use where it is
            not compressed.
        fields: the other files that were asked for, by their ending such as "cls".
    """

    key: str
    image: bytes | None = None
    reason: str | None = None
    place: tuple[int, int] | None = None
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Member(Place):
    """An image in a tar file that is not compressed: it is read without what comes before it.

    Attributes:
        shard: the tar file.
        first: the position of the image's first byte in it.
        size: how many bytes it has.
    """

    shard: Path | Place = Path()
    first: int = 0
    size: int = 0

    def read_bytes(self, most: int | None = None) -> bytes:
        """Return the image; a `DataError` where that cannot be, or it is larger than `most`."""
        if most is not None and self.size > most:
            raise DataError(
                f"the file has {self.size:,} bytes, more than the {most:,} allowed.", where=self
            )
        with told(self), open_file(self.shard) as file:
            file.seek(self.first)
            return file.read(self.size)


class Shards:
    """Images in tar files, to which `/` adds a name of `labels`, as to a folder.

    Args:
        root: what the tar files are relative to.
        shards: the tar files, none compressed.
        target: the field of .json files that holds the label, where there are no .cls files.

    Raises:
        DataError: a shard is compressed or cannot be read, or a sample has no image or no label.
    """

    def __init__(self, root: str, shards: Sequence[str], target: str):
        self.root = root
        self.labels: dict[str, str] = {}
        self._members: dict[str, tuple[str, int, int]] = {}
        for shard in shards:
            file = at(root) / shard
            if not shard.lower().endswith(".tar"):
                raise DataError(
                    "training reads images here and there, which a compressed tar file forbids.",
                    where=file,
                    mend="Decompress it: images are compressed already.",
                )
            for row, sample in enumerate(samples(file, fields=("cls", "json"))):
                if sample.place is None:
                    where = f"{file}, sample {sample.key}"
                    raise DataError(f"{sample.reason}.", where=where, mend="Mend or remove it.")
                name = f"{shard}/{sample.key}"
                name = f"{name} ({row})" if name in self.labels else name
                self.labels[name] = _label(sample, target, file)
                self._members[name] = (shard, *sample.place)

    def __str__(self) -> str:
        return str(at(self.root))

    def __truediv__(self, name: str) -> Member:
        shard, first, size = self._members[name]
        return Member(self.root, name, at(self.root) / shard, first, size)


def samples(
    file: Path | Place, *, max_bytes: int | None = None, fields: Collection[str] = ()
) -> Iterator[Sample]:
    """Yield the samples of a shard, each with one image or the reason why it has none.

    Args:
        file: a tar file; .gz, .tgz, .bz2 and .zst are decompressed.
        max_bytes: an image of more bytes is not read; where None, images are found and not read.
        fields: the endings of other files to read, such as "cls" and "json".

    Raises:
        DataError: the file is no tar file, or breaks off; it says how far it can be read.
    """
    whole = 0
    try:
        with open_stream(file) as stream:
            source = _Source(stream)
            with tarfile.open(fileobj=source, mode="r|", bufsize=_BUFFER) as tar:  # type: ignore[call-overload]
                for sample in _samples(tar, max_bytes, fields):
                    yield sample
                    whole += 1
                source.check_end(tar.offset)
    except _BROKEN as error:
        unread = failure("the tar file breaks off", file, error)
        if isinstance(unread, DataError):
            told_how_far = f"{unread.what[:-1]}; {whole:,} samples before that can be read."
            unread = DataError(told_how_far, where=file)
        raise unread from error


class _Source:
    """Reads a stream for `tarfile`, which takes whatever is no header for the end of a file."""

    def __init__(self, stream: pa.NativeFile):
        self._stream = stream
        self._bytes = 0
        self._written = 0  # where the last byte that is not zero ends

    def read(self, size: int) -> bytes:
        """Read some bytes."""
        data = self._stream.read(size)
        if stop := len(data.rstrip(b"\0")):
            self._written = self._bytes + stop
        self._bytes += len(data)
        return data

    def check_end(self, end: int) -> None:
        """Raise unless a block of zeros follows the last file, and nothing else."""
        while self.read(_BUFFER):
            pass
        if self._written > end:
            raise tarfile.ReadError(f"what follows byte {end:,} is no tar file's")
        if self._bytes < end + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("its end is missing")


def _samples(
    tar: tarfile.TarFile, max_bytes: int | None, fields: Collection[str]
) -> Iterator[Sample]:
    sample = None
    for member in tar:
        tar.members = []  # which `tarfile` would keep to the end  # type: ignore[attr-defined]
        parts = PurePosixPath(member.name).parts
        if member.isdir() or not parts or any(is_hidden(p) and p != ".." for p in parts):
            continue
        stem, _, ending = parts[-1].partition(".")
        key = "/".join([*parts[:-1], stem])
        if sample is None or sample.key != key:
            if sample is not None:
                yield _judged(sample)
            sample = Sample(key)
        _add(sample, tar, member, ending.lower(), max_bytes, fields)
    if sample is not None:
        yield _judged(sample)


def _add(
    sample: Sample,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    ending: str,
    max_bytes: int | None,
    fields: Collection[str],
) -> None:
    image = f".{ending.rpartition('.')[2]}" in SUFFIXES
    if not image and ending not in fields:
        return
    allowed = max_bytes if image else _LABEL_BYTES
    if image and (sample.place is not None or sample.reason is not None):
        sample.reason = "there are two images of this key"
    elif not member.isreg() or member.issparse():
        sample.reason = "it is a link or a device, not a file"
    elif allowed is not None and member.size > allowed:
        sample.reason = f"the file has {member.size:,} bytes, more than the {allowed:,} allowed"
    elif image:
        sample.place = (member.offset_data, member.size)
        sample.image = None if max_bytes is None else _content(tar, member)
    else:
        sample.fields[ending] = _content(tar, member)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _judged(sample: Sample) -> Sample:
    if sample.reason is None and sample.place is None:
        sample.reason = "there is no image of this key"
    elif sample.place is not None and not sample.place[1]:
        sample.reason = "the file is empty"
    if sample.reason is not None:
        sample.image = sample.place = None
    return sample


def _label(sample: Sample, target: str, file: Path | Place) -> str:
    """Return what .cls says, or the target of .json, or the folder in front of the key."""
    where = f"{file}, sample {sample.key}"
    try:
        if "cls" in sample.fields:
            return sample.fields["cls"].decode().strip()
        if "json" in sample.fields:
            found = json.loads(sample.fields["json"])
            if isinstance(found, dict) and isinstance(found.get(target), str | int):
                return str(found[target])
    except ValueError as error:
        raise DataError(f"the label cannot be read: {error}.", where=where) from error
    if "/" not in sample.key:
        raise DataError(
            "the sample has no label.",
            where=where,
            mend=f"Give it a .cls file, a .json file with {target!r}, or a folder.",
        )
    return sample.key.split("/")[0]
