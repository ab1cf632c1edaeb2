"""What lies in a store is found and read as what lies on a disk is."""

import io
import os
import pickle
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.data.contract import ImageSpec
from secateur.data.images import load_image
from secateur.data.places import Place, absolute, at, failure, find_files, open_stream, shown
from secateur.data.read import read
from secateur.data.sources import find_parts, names_of, stream
from secateur.errors import DataError, SecateurError, StoreError


def parquet(rows=10, **options):
    buffer = io.BytesIO()
    table = pa.table({"a": np.arange(rows), "b": [f"w{i % 3}" for i in range(rows)]})
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def paths(source):
    return [file.path for file in find_files(source)[1]]


@pytest.fixture
def memory():
    """Return the store that fsspec keeps in memory, empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def test_a_folder_of_a_bucket_in_the_order_of_paths(bucket):
    for key in ("d/b.csv", "d/a b.csv", "d/50%.csv", "d/sub/x#1%23.csv", "d/.h.csv", "e.csv"):
        bucket.put(key, b"a\n1\n")
    assert paths(f"{bucket.uri}/d") == ["50%.csv", "a b.csv", "b.csv", "sub/x#1%23.csv"]
    assert paths(f"{bucket.uri}/d/") == paths(f"{bucket.uri}/d")
    assert len(paths(bucket.uri)) == 5
    assert find_files(f"{bucket.uri}/d/a b.csv")[0] == f"{bucket.uri}/d"
    assert paths(f"{bucket.uri}/d/50%.csv") == ["50%.csv"]
    found = find_files(f"{bucket.uri}/d/sub/x#1%23.csv")
    assert (at(found[0]) / found[1][0].path).read_bytes() == b"a\n1\n"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a1.csv", "a2.csv"]),
        ("a?.csv", ["a1.csv", "a2.csv"]),
        ("a[2-9].csv", ["a2.csv"]),
        ("**/*.csv", ["a1.csv", "a2.csv", "x/a3.csv", "x/y/a4.csv"]),
        ("x/**", ["a3.csv", "y/a4.csv"]),
        ("*/a3.csv", ["x/a3.csv"]),
    ],
)
def test_globs_mean_what_they_mean_on_a_disk(memory, tmp_path, pattern, found):
    for name in ("a1.csv", "a2.csv", ".a9.csv", "x/a3.csv", "x/y/a4.csv", "x/.z/a5.csv", "b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a\n1\n")
        memory.pipe(f"/store/{name}", b"a\n1\n")
    assert paths(f"memory://store/{pattern}") == found
    assert paths(f"{tmp_path}/{pattern}") == found


def test_file_addresses_are_paths(tmp_path):
    (tmp_path / "a b.csv").write_text("a\n1\n")
    assert find_files(f"file://{tmp_path}/a b.csv") == find_files(tmp_path / "a b.csv")


def test_parquet_in_a_bucket_is_streamed_by_row_group(bucket):
    bucket.put("d/x.parquet", parquet(1000, row_group_size=300))
    bucket.put("d/y.parquet", parquet(5))
    parts = find_parts(f"{bucket.uri}/d")
    assert [(part.path, part.rows, part.kind) for part in parts] == [
        ("x.parquet", 1000, "parquet"),
        ("y.parquet", 5, "parquet"),
    ]
    assert names_of(parts[0]) == ["a", "b"]
    assert pickle.loads(pickle.dumps(parts[0])) == parts[0]
    blocks = list(stream(parts[0], ["a"], batch_rows=128))
    assert max(block.table.num_rows for block in blocks) == 128
    np.testing.assert_array_equal(
        np.concatenate([b.table.column("a").to_numpy() for b in blocks]), np.arange(1000)
    )
    np.testing.assert_array_equal(np.concatenate([b.rows for b in blocks]), np.arange(1000))
    (some,) = stream(parts[0], ["a"], groups=[1], first=300)
    assert some.rows[0] == some.table.column("a")[0].as_py() == 300


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".arrow"])
def test_other_tables_in_a_bucket(bucket, ending, tmp_path):
    if ending == ".arrow":
        table = pa.table({"a": ["1", "2"], "b": ["x", "y"]})
        with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as writer:
            writer.write_table(table)
        content = (tmp_path / "t.arrow").read_bytes()
    else:
        content = b"a,b\n1,x\n2,y\n"
        content = pa.compress(content, "gzip", asbytes=True) if ending == ".csv.gz" else content
    bucket.put(f"t{ending}", content)
    (part,) = find_parts(f"{bucket.uri}/t{ending}")
    (block,) = stream(part)
    assert block.table.to_pydict() == {"a": ["1", "2"], "b": ["x", "y"]}


def test_training_reads_a_bucket(bucket):
    rows = np.random.default_rng(0).normal(size=(300, 2))
    table = pa.table({"x": rows[:, 0], "z": rows[:, 1], "y": (rows[:, 0] > 0).astype(int)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    bucket.put("train/a.parquet", buffer.getvalue())
    dataset = read(f"{bucket.uri}/train", target="y")
    assert dataset.rows == 300
    assert dataset.contract.reads == ("x", "z")


def test_images_of_a_store_are_decoded_and_limited(memory):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 5), (200, 10, 10)).save(buffer, "PNG")
    memory.pipe("/m/a.png", buffer.getvalue())
    memory.pipe("/m/empty.png", b"")
    spec = ImageSpec(height=4, width=4)
    root = at("memory://m")
    assert load_image(root / "a.png", spec).tolist() == load_image(buffer.getvalue(), spec).tolist()
    with pytest.raises(DataError, match="the file is empty"):
        load_image(root / "empty.png", spec)
    with pytest.raises(DataError, match="more bytes than the 10 allowed"):
        load_image(root / "a.png", spec.model_copy(update={"max_bytes": 10}))
    with pytest.raises(DataError, match="no such file"):
        load_image(root / "b.png", spec)


def test_compression_goes_by_the_ending(memory):
    memory.pipe("/m/a.txt.GZ", pa.compress(b"text", "gzip", asbytes=True))
    with open_stream(at("memory://m") / "a.txt.GZ") as file:
        assert file.read() == b"text"


def refused(source):
    with pytest.raises(SecateurError) as caught:
        find_parts(source)
    assert caught.value.mend or caught.value.what
    return caught.value


def test_one_clear_error_for_what_is_not_there(bucket):
    error = refused("s3://there-is-no-such-bucket-1/x")
    assert "NO_SUCH_BUCKET" in error.what
    assert error.mend == "Check the name of the bucket."
    assert refused(f"{bucket.uri}/nothing").what == "there is no such file or folder."
    bucket.put("x/a.csv", b"a\n1\n")
    assert refused(f"{bucket.uri}/x/*.parquet").what == "no file matches."
    assert "Request ID" not in error.what


def test_one_clear_error_for_an_address_that_means_nothing(memory):
    assert "Protocol not known" in refused("nonsense://bucket/x").what
    assert "foo" in refused("s3://bucket-x/d?foo=1").what
    assert refused("memory://nothing").what == "there is no such file or folder."


def test_an_address_that_was_made_a_path():
    assert refused(Path("s3://bucket/x")).mend == "Give it as text."


def test_credentials_in_an_address_are_refused_and_not_repeated():
    for address in ("s3://key:secret@bucket/x", "sftp://me:secret@host/x"):
        error = refused(address)
        assert "credentials" in error.what
        assert "secret" not in str(error)


@pytest.mark.parametrize("sign", ["/", "?", "#", "[", "@", ":", "?a=", "/../", "//"])
def test_credentials_of_any_signs_are_refused_and_not_repeated(sign):
    for address in (f"s3://k:se{sign}cret@bucket/x?region=eu", f"sftp://k:1{sign}cret@bucket/x"):
        error = refused(address)
        assert "credentials" in error.what
        assert error.where == f"{address[: address.index(':')]}://bucket/x"
        assert shown(address) == error.where


def test_names_may_hold_what_parts_credentials_from_a_host(memory):
    memory.pipe("/m/at 12:00/a.csv", b"a\n1\n")
    memory.pipe("/m/me@corp/b.csv", b"a\n1\n")
    assert paths("memory://m/at 12:00") == ["a.csv"]
    assert paths("memory://m/me@corp/b.csv") == ["b.csv"]
    assert paths("memory://m") == ["at 12:00/a.csv", "me@corp/b.csv"]


def test_an_address_that_cannot_be_parsed(memory):
    for address in ("s3://bu[ck/x", "hdfs://[x/y", "file://[x/y"):
        assert "Cannot parse URI" in refused(address).what
    assert refused("memory://[x/y").what == "there is no such file or folder."


def test_options_are_not_shown_by_errors(memory):
    memory.pipe("/m/a.odd", b"")
    for address in ("memory://m/*.csv?k=secret", "memory://m/a.odd?k=secret"):
        assert "secret" not in str(refused(address))


def test_a_path_that_no_file_can_have(tmp_path):
    error = refused(tmp_path / ("x" * 300))
    assert (error.what, bool(error.mend)) == ("it cannot be read: File name too long.", True)


def test_a_store_that_cannot_be_reached(s3, monkeypatch):
    monkeypatch.setitem(os.environ, "AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = refused("s3://some-bucket-2/x")
    assert isinstance(error, StoreError)
    assert "NETWORK" in error.what
    assert "endpoint" in error.mend


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("AWS Error SLOW_DOWN during GetObject operation"), StoreError),
        (OSError("AWS Error ACCESS_DENIED during GetObject operation"), StoreError),
        (PermissionError("no"), StoreError),
        (OSError("AWS Error UNKNOWN (HTTP status 503) during GetObject"), StoreError),
        (OSError("Unexpected end of stream"), DataError),
        (OSError("cannot decode 'credentials/connect.csv'"), DataError),
        (FileNotFoundError("connect"), DataError),
    ],
)
def test_a_store_that_fails_is_not_a_file_that_is_broken(error, kind):
    found = failure("it cannot be read", Place("s3://bucket"), error)
    assert type(found) is kind
    assert isinstance(failure("it cannot be read", Path("a"), error), DataError)


def test_options_of_an_address_are_not_shown(s3):
    place = Place("s3://bucket/d?region=us-east-1", "a/b.csv")
    assert str(place) == "s3://bucket/d/a/b.csv"
    assert place.name == "b.csv"


def test_a_file_that_a_pattern_matches_twice_is_found_once(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.csv").write_text("x\n1\n")
    assert len(find_files(f"{tmp_path}/**/**/*.csv")[1]) == 1


def test_an_address_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("s3://bucket/data") == "s3://bucket/data"
    assert absolute("data.csv") == str(tmp_path / "data.csv")
