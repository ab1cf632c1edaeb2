"""A shard gives each of its samples, or says why not, and how far it can be read."""

import tarfile

import pyarrow as pa
import pytest

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
