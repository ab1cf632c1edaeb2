"""A folder of images, one sub-folder a class, becomes a `Dataset`; broken files are left out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from secateur.data import splits
from secateur.data.contract import Contract, ImageSpec, ImageSpread, counted
from secateur.data.dataset import Dataset
from secateur.data.images import GRAY, image_size, load_image, read_bytes
from secateur.data.places import Place, is_hidden
from secateur.data.shards import Shards
from secateur.data.sources import Part
from secateur.data.spread import RESERVOIR, Reservoir, Spread
from secateur.data.stores import THREADS, ImageStore
from secateur.data.survey import in_order, make_target
from secateur.errors import DataError

LONGEST_SIDE = 128
ROUND_TO = 8
_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


Root = Path | Place | Shards


@dataclass(frozen=True)
class _Image:
    file: str
    label: str


def read_folder(
    parts: Sequence[Part],
    *,
    target: str | None,
    group: str | None,
    stratify: bool,
    shares: splits.Shares,
    image_size: tuple[int, int] | None,
    mode: Literal["RGB", "L"] | None,
    resize: Literal["stretch", "fit", "crop"],
    class_names: Sequence[str] | Mapping[str, str] | None,
    contract: Contract | None,
    cache_bytes: int,
    seed: int,
) -> Dataset:
    """Read image files whose first folder is their class, or tar files of labelled images.

    The arguments are those of `read`; `group` is a regular expression on the path, whose first
    group (or whose match) names the person or recording that a photo is of.

    Raises:
        DataError: there are no class folders, one of them is empty, or no image can be decoded.
    """
    notes: list[str] = []
    if parts[0].kind == "tar":
        root = Shards(parts[0].root, [part.path for part in parts], target or "class")
        images = [_Image(file, label) for file, label in root.labels.items()]
    else:
        root = parts[0].home
        images, notes = _classes(root, [file for part in parts for file in part.files])
    spec = contract.image if contract and contract.image else None
    if spec is None:
        spec = _learn_spec(root, images, image_size, mode, resize)
    images, pixels, contents, broken = _decode(root, images, spec, cache_bytes)
    notes += broken
    labels = in_order(sorted({image.label for image in images}))
    known = contract is not None
    if contract is None:
        contract = Contract(
            kind="image", image=spec, target=make_target(target or "class", labels, class_names)
        )
    y = _codes(images, contract, root)
    if len(set(y.tolist())) < 2:
        raise DataError(f"all images are of one class, {images[0].label!r}.", where=root)
    codes = _split(images, contents, y, group, stratify, shares, seed)
    splits.demand_rows(codes)
    if not known:
        contract = _with_spreads(contract, root, images, y, codes, pixels)
        spec = contract.image or spec
    store = ImageStore(root, [image.file for image in images], y, codes, spec, pixels)
    return Dataset.of(
        store,
        contract,
        notes=notes,
        source=str(root),
        digest=_digest(images, contents),
        splitting={"shares": shares, "seed": seed, "group": group, "stratify": stratify},
    )


def _classes(root: Path | Place, files: Sequence[str]) -> tuple[list[_Image], list[str]]:
    """Return the images with their class folders, and a note on images that lie outside them."""
    images = [_Image(file, file.split("/")[0]) for file in files if "/" in file]
    if isinstance(root, Place):  # a store knows no empty folder
        folders = sorted({image.label for image in images})
    else:
        folders = sorted(
            path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)
        )
    if not images:
        raise DataError(
            "there are no class folders: the images lie side by side.",
            where=root,
            mend="Put the images of each class in a folder of the class's name.",
        )
    empty = sorted(set(folders) - {image.label for image in images})
    if empty:
        raise DataError(
            f"the class folder {empty[0]!r} holds no image.",
            where=root,
            mend="Put images there, or remove the folder.",
        )
    if {folder.lower() for folder in folders} <= _SPLIT_NAMES:
        raise DataError(
            f"the folders {', '.join(folders)} look like splits, not classes.",
            where=root,
            mend=f"Read one of them, such as {root / folders[0]}; secateur makes splits itself.",
        )
    outside = len(files) - len(images)
    notes = [f"{counted(outside, 'image')} outside class folders left out"] if outside else []
    return images, notes


def _learn_spec(
    root: Root,
    images: Sequence[_Image],
    size: tuple[int, int] | None,
    mode: Literal["RGB", "L"] | None,
    resize: Literal["stretch", "fit", "crop"],
) -> ImageSpec:
    """Learn the size and mode from the headers of the files, where they are not given."""
    if size is None or mode is None:
        sizes: Counter[tuple[int, int]] = Counter()
        modes: Counter[str] = Counter()
        broken: list[DataError] = []
        for found in _each(lambda image: _header(root / image.file), images):
            if isinstance(found, DataError):
                broken.append(found)
            else:
                sizes[found[:2]] += 1
                modes["L" if found[2] in GRAY else "RGB"] += 1
        if not sizes:
            raise _unreadable(root, images, broken[0])
        size = size or _scaled(max(sizes, key=lambda pair: (sizes[pair], pair)))
        mode = mode or ("RGB" if modes["RGB"] else "L")
    return ImageSpec(height=size[0], width=size[1], mode=mode, resize=resize)


def _header(path: Path | Place) -> tuple[int, int, str] | DataError:
    try:
        return image_size(path)
    except DataError as error:
        return error


def _unreadable(root: Root, images: Sequence[_Image], first: DataError) -> DataError:
    return DataError(
        f"none of the {len(images):,} images can be read: {first.what}",
        where=root / images[0].file,
        mend="Give images that open in an image viewer.",
    )


def _scaled(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) as it is, or scaled to a longer side of 128, in multiples of 8."""
    if max(size) <= LONGEST_SIDE:
        return size
    scale = LONGEST_SIDE / max(size)
    height, width = (max(ROUND_TO, round(side * scale / ROUND_TO) * ROUND_TO) for side in size)
    return height, width


def _decode(
    root: Root, images: Sequence[_Image], spec: ImageSpec, cache_bytes: int
) -> tuple[list[_Image], np.ndarray | None, list[bytes], list[str]]:
    """Decode every image once: keep the pixels where they fit, and leave out what is broken."""
    fits = len(images) * int(np.prod(spec.shape)) <= cache_bytes
    pixels = np.empty((len(images), *spec.shape), np.uint8) if fits else None

    def load(place: int) -> bytes | DataError:
        path = root / images[place].file
        try:
            data = read_bytes(path, spec)
            decoded = load_image(data, spec)
        except DataError as error:
            return error
        if pixels is not None:
            pixels[place] = decoded
        return hashlib.blake2b(data, digest_size=16).digest()

    found = _each(load, range(len(images)))
    errors = [(i, one) for i, one in enumerate(found) if isinstance(one, DataError)]
    good = [place for place, one in enumerate(found) if isinstance(one, bytes)]
    if not good:
        raise _unreadable(root, images, errors[0][1])
    notes = []
    if errors:
        place, first = errors[0]
        notes = [
            f"{counted(len(errors), 'unreadable image')} left out (first: {images[place].file}: "
            f"{first.what.rstrip('.')})"
        ]
        pixels = None if pixels is None else pixels[good]
    contents = [one for one in found if isinstance(one, bytes)]
    copies = len(contents) - len(set(contents))
    if copies:
        notes.append(f"{counted(copies, 'image')} with the content of another, kept in one split")
    return [images[place] for place in good], pixels, contents, notes


def _with_spreads(
    contract: Contract,
    root: Root,
    images: Sequence[_Image],
    y: np.ndarray,
    codes: np.ndarray,
    pixels: np.ndarray | None,
) -> Contract:
    """Return the contract with what the training images are like; of many a sample is looked at."""
    spec, target = contract.image, contract.target
    assert spec is not None
    assert target is not None
    train = np.flatnonzero(codes == 0)
    shares = np.bincount(y[train], minlength=len(target.raw)) / len(train)
    chosen = train
    if len(train) > RESERVOIR:
        chosen = np.random.default_rng(0).choice(train, RESERVOIR, replace=False)

    def look(place: int) -> tuple[float, float, bool]:
        path = root / images[place].file
        height, width, mode = image_size(path)
        shown = load_image(path, spec) if pixels is None else pixels[place]
        return float(shown.mean()), float(height * width), mode in GRAY

    brightness, sizes, gray = (
        np.array(side) for side in zip(*_each(look, chosen.tolist()), strict=True)
    )
    spreads = [Reservoir(), Reservoir()]
    for reservoir, found in zip(spreads, (brightness, sizes), strict=True):
        reservoir.add(found)
    seen = ImageSpread(
        brightness=spreads[0].spread(len(chosen)),
        pixels=spreads[1].spread(len(chosen)),
        gray=round(float(gray.mean()), 6),
    )
    aim = Spread(rows=len(train), shares=tuple(round(float(share), 6) for share in shares))
    return contract.model_copy(
        update={
            "image": spec.model_copy(update={"spread": seen}),
            "target": target.model_copy(update={"spread": aim}),
        }
    )


def _each(function: Any, items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def _codes(images: Sequence[_Image], contract: Contract, root: Root) -> np.ndarray:
    raw = contract.target.raw if contract.target else ()
    code = {label: i for i, label in enumerate(raw)}
    unknown = sorted({image.label for image in images} - set(code))
    if unknown:
        raise DataError(
            f"the folder {unknown[0]!r} is no class of the contract ({', '.join(raw[:10])}).",
            where=root,
        )
    return np.array([code[image.label] for image in images], np.int32)


def _split(
    images: Sequence[_Image],
    contents: Sequence[bytes],
    y: np.ndarray,
    group: str | None,
    stratify: bool,
    shares: splits.Shares,
    seed: int,
) -> np.ndarray:
    files = [image.file for image in images]
    if group is not None:
        names = _groups(files, group)
        return splits.assign_groups(splits.seeded(splits.hash_words(names), seed), shares)
    first: dict[bytes, str] = {}
    names = [first.setdefault(content, file) for content, file in zip(contents, files, strict=True)]
    hashes = splits.seeded(splits.hash_words(names), seed)
    return splits.assign(hashes, shares, y if stratify else None)


def _groups(files: Sequence[str], pattern: str) -> list[str]:
    """Return the group that each path names."""
    try:
        finder = re.compile(pattern)
    except re.error as error:
        raise DataError(f"`group` {pattern!r} is no regular expression: {error}.") from error
    found = [finder.search(file) for file in files]
    lost = [file for file, match in zip(files, found, strict=True) if match is None]
    if lost:
        raise DataError(
            f"`group` {pattern!r} does not match {len(lost):,} of {len(files):,} paths.",
            where=lost[0],
        )
    return [match.group(1) if match.groups() else match.group() for match in found if match]


def _digest(images: Sequence[_Image], contents: Sequence[bytes]) -> str:
    total = hashlib.sha256()
    for image, content in zip(images, contents, strict=True):
        total.update(image.file.encode() + b"\0" + content)
    return total.hexdigest()
