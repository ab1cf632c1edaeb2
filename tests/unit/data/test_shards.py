"""A shard gives each of its samples, or says why not, and how far it can be read."""

import tarfile

import numpy as np
import pyarrow as pa
import pytest

from secateur.data.read import read
from secateur.data.shards import samples
from secateur.data.sources import find_parts
from secateur.errors import DataError
from unit.scoring.shards import png, write_tar


def read_all(path, **options):
    return list(samples(path, **{"max_bytes": 10_000, **options}))


def pairs(count, first=0):
    found = []
    for i in range(first, first + count):
        found += [(f"{i:06d}.png", png(i)[0]), (f"{i:06d}.cls", str(i % 3).encode())]
    return found


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2"])
def test_samples_in_order(tmp_path, ending):
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2"}[ending]
    path = write_tar(tmp_path / f"s{ending}", pairs(5), mode)
    found = read_all(path, fields=["cls"])
    assert [s.key for s in found] == [f"{i:06d}" for i in range(5)]
    assert [s.image for s in found] == [png(i)[0] for i in range(5)]
    assert [s.fields for s in found] == [{"cls": str(i % 3).encode()} for i in range(5)]
    assert read_all(path)[0].fields == {}


def test_zstd(tmp_path):
    plain = write_tar(tmp_path / "s.tar", pairs(2)).read_bytes()
    (tmp_path / "s.tar.zst").write_bytes(pa.compress(plain, "zstd", asbytes=True))
    assert len(read_all(tmp_path / "s.tar.zst")) == 2


def test_keys_go_to_the_first_dot_and_hold_the_folder(tmp_path):
    path = write_tar(
        tmp_path / "s.tar",
        [("./cat/1.rgb.PNG", png(1)[0]), ("cat/1.json", b"{}"), ("dog/1.png", png(2)[0])],
    )
    assert [(s.key, s.image) for s in read_all(path)] == [
        ("cat/1", png(1)[0]),
        ("dog/1", png(2)[0]),
    ]


def test_samples_without_one_image_say_why(tmp_path):
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [
        ("none.cls", b"1"),
        ("two.a.png", png(1)[0]),
        ("two.b.png", png(2)[0]),
        ("empty.png", b""),
        ("large.png", bytes(20_000)),
        (link, b""),
        ("../../escape.png", png(3)[0]),
        ("._two.png", b"left by an archiver"),
        ("good.png", png(4)[0]),
    ]
    found = read_all(write_tar(tmp_path / "s.tar", members))
    assert {s.key: s.reason for s in found} == {
        "none": "there is no image of this key",
        "two": "there are two images of this key",
        "empty": "the file is empty",
        "large": "the file has 20,000 bytes, more than the 10,000 allowed",
        "link": "it is a link or a device, not a file",
        "../../escape": None,
        "good": None,
    }
    assert all((s.image is None) == (s.reason is not None) for s in found)
    assert list(tmp_path.iterdir()) == [tmp_path / "s.tar"]


def broken(path, content):
    path.write_bytes(content)
    found, error = [], None
    try:
        for sample in samples(path, max_bytes=10_000):
            found.append(sample)
    except DataError as caught:
        error = caught
    assert error is not None
    return len(found), error.what


def test_a_shard_cut_anywhere_is_noticed(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", pairs(4)).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        members = tar.getmembers()
        end = tar.offset
    starts = [m.offset for m in members]
    for cut in (1, 100, 511, 513, *starts[1:], starts[3] + 7, members[-1].offset_data + 1, end):
        count, what = broken(tmp_path / "cut.tar", whole[:cut])
        assert f"{count:,} samples before that can be read" in what, cut
        assert count <= 4
    assert broken(tmp_path / "cut.tar", whole[: starts[4]])[0] >= 1


def test_a_shard_with_something_else_in_it_is_noticed(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", pairs(4)).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        header = tar.getmembers()[4].offset
    flipped = bytearray(whole)
    flipped[header + 3] ^= 0xFF
    assert "no tar file's" in broken(tmp_path / "bad.tar", bytes(flipped))[1]
    assert "no tar file's" in broken(tmp_path / "two.tar", whole + whole)[1]
    assert broken(tmp_path / "no.tar", b"this is no tar file" * 100)[0] == 0
    assert broken(tmp_path / "empty.tar", b"")[0] == 0
    zipped = pa.compress(whole, "gzip", asbytes=True)
    assert "0 samples" in broken(tmp_path / "cut.tar.gz", zipped[:60])[1]
    broken(tmp_path / "cut.tar.gz", zipped[:-20])


def test_shards_are_found_as_images(tmp_path):
    write_tar(tmp_path / "a.tar", pairs(1))
    write_tar(tmp_path / "b.tgz", pairs(1), "w:gz")
    parts = find_parts(tmp_path)
    assert [(part.path, part.kind, part.rows) for part in parts] == [
        ("a.tar", "tar", None),
        ("b.tgz", "tar", None),
    ]
    assert [p.path for p in find_parts(f"{tmp_path}/*.tar")] == ["a.tar"]
    (tmp_path / "c.png").write_bytes(png(0)[0])
    with pytest.raises(DataError, match="1 images and 2 tar files lie side by side"):
        find_parts(tmp_path)


def training(tmp_path, name, label):
    for shard in range(2):
        members = []
        for i in range(shard * 20, shard * 20 + 20):
            members += [
                (name(i), png(i)[0]),
                *([label(i)] if label(i) else []),
            ]
        write_tar(tmp_path / f"shard-{shard}.tar", members)
    return read(tmp_path, target="kind")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (lambda i: f"{i:03d}.png", lambda i: (f"{i:03d}.cls", f" {i % 2}\n".encode())),
        (lambda i: f"{i:03d}.png", lambda i: (f"{i:03d}.json", b'{"kind": %d}' % (i % 2))),
        (lambda i: f"{i % 2}/{i:03d}.png", lambda i: None),
    ],
    ids=["cls", "json", "folder"],
)
@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_training_reads_shards(tmp_path, name, label, cache_bytes, monkeypatch):
    monkeypatch.setitem(read.__kwdefaults__, "cache_bytes", cache_bytes)
    dataset = training(tmp_path, name, label)
    assert dataset.contract.classes == ("0", "1")
    assert dataset.contract.image.shape == (4, 4, 3)
    seen = 0
    for split in (dataset.train, dataset.validation, dataset.test):
        rows = np.arange(len(split))
        pixels, labels = split.take(rows), split.labels()
        for place in rows:
            number = int(split.rows_as_dicts([place])[0]["file"][-3:])
            np.testing.assert_array_equal(pixels[place], png(number)[1])
            assert labels[place] == number % 2
        seen += len(split)
    assert seen == 40


def test_shards_that_training_cannot_use(tmp_path):
    with pytest.raises(DataError, match="the sample has no label"):
        training(tmp_path, lambda i: f"{i:03d}.png", lambda i: None)
    with pytest.raises(DataError, match="no image of this key"):
        training(tmp_path, lambda i: f"{i:03d}.txt", lambda i: (f"{i:03d}.cls", b"1"))
    with pytest.raises(DataError, match="the label cannot be read"):
        training(tmp_path, lambda i: f"{i:03d}.png", lambda i: (f"{i:03d}.json", b"{"))
    for file in tmp_path.iterdir():
        file.unlink()
    write_tar(tmp_path / "a.tar.gz", pairs(3), "w:gz")
    with pytest.raises(DataError, match="a compressed tar file forbids"):
        read(tmp_path)


def test_training_reads_images_and_shards_of_a_bucket(bucket, tmp_path):
    for i in range(20):
        bucket.put(f"images/{i % 2}/{i}.png", png(i)[0])
    dataset = read(f"{bucket.uri}/images")
    assert (dataset.rows, dataset.contract.classes) == (20, ("0", "1"))
    bucket.put("shards/a.tar", write_tar(tmp_path / "a.tar", pairs(20)).read_bytes())
    dataset = read(f"{bucket.uri}/shards", cache_bytes=0)
    assert dataset.train.take(np.arange(3)).shape == (3, 4, 4, 3)
