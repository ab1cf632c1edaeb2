"""Tar files of images, as WebDataset writes them, become samples in the order of the file.

    000000.jpg 000000.cls 000001.jpg 000001.cls ...

What stands before the first dot of a name is its sample's key. A shard is streamed, never unpacked,
and the names in it are never used as paths.

References:
    Aizman et al., "High Performance I/O For Large Scale Deep Learning", 2019.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa

from secateur.data.images import SUFFIXES
from secateur.data.places import Place, is_hidden, open_stream
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
        fields: the other files that were asked for, by their ending such as "cls".
    """

    key: str
    image: bytes | None = None
    reason: str | None = None
    fields: dict[str, bytes] = field(default_factory=dict)


def samples(
    file: Path | Place, *, max_bytes: int, fields: Collection[str] = ()
) -> Iterator[Sample]:
    """Yield the samples of a shard, each with one image or the reason why it has none.

    Args:
        file: a tar file; .gz, .tgz, .bz2 and .zst are decompressed.
        max_bytes: an image of more bytes is not read.
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
        text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"the tar file breaks off: {text}; {whole:,} samples before that can be read.",
            where=file,
        ) from error


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


def _samples(tar: tarfile.TarFile, max_bytes: int, fields: Collection[str]) -> Iterator[Sample]:
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
    max_bytes: int,
    fields: Collection[str],
) -> None:
    image = f".{ending.rpartition('.')[2]}" in SUFFIXES
    if not image and ending not in fields:
        return
    if image and (sample.image is not None or sample.reason is not None):
        sample.reason = "there are two images of this key"
    elif not member.isreg():
        sample.reason = "it is a link or a device, not a file"
    elif member.size > (max_bytes if image else _LABEL_BYTES):
        allowed = max_bytes if image else _LABEL_BYTES
        sample.reason = f"the file has {member.size:,} bytes, more than the {allowed:,} allowed"
    else:
        content = tar.extractfile(member)
        assert content is not None
        data = content.read()
        if image:
            sample.image = data
        else:
            sample.fields[ending] = data


def _judged(sample: Sample) -> Sample:
    if sample.reason is not None:
        sample.image = None
    elif sample.image is None:
        sample.reason = "there is no image of this key"
    elif not sample.image:
        sample.image, sample.reason = None, "the file is empty"
    return sample
