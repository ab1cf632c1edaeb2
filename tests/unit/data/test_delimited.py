"""Every row of a CSV file arrives or is named, however the file is written."""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data import delimited
from secateur.data.delimited import read_blocks, sniff
from secateur.data.values import NULL_WORDS
from secateur.errors import DataError


def rows_of(path, *, header=True, block_bytes=4 << 20, types=None):
    dialect = sniff(path, header=header)
    blocks = list(read_blocks(path, dialect, block_bytes=block_bytes, types=types))
    rows = [row for block in blocks for row in block.table.to_pylist()]
    bad = [row for block in blocks for row in block.bad]
    places = [int(place) for block in blocks for place in block.rows]
    assert sorted([*places, *(row.row for row in bad)]) == list(range(len(rows) + len(bad)))
    return rows, bad, places


def write(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    block_bytes=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_what_is_written_is_read_whatever_it_holds(tmp_path_factory, rows, delimiter, block_bytes):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(["a", "b", "c"])
        writer.writerows(rows)
    blocks = list(read_blocks(path, sniff(path), block_bytes=block_bytes))
    found = [list(row.values()) for block in blocks for row in block.table.to_pylist()]
    assert found == [[None if cell in NULL_WORDS else cell for cell in row] for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    text = delimiter.join(["a", "b", "c"]) + "\n" + delimiter.join(["1", "x y", "3"]) + "\n"
    assert sniff(write(tmp_path, text)).delimiter == delimiter


def test_a_delimiter_in_quotes_or_in_few_lines_does_not_count(tmp_path):
    assert sniff(write(tmp_path, 'a;b\n"1,2,3";4\n"1,2,3";4\n')).delimiter == ";"
    assert sniff(write(tmp_path, "a\tb\n1,5\t2\nx\ty\nz\tw\n")).delimiter == "\t"
    assert sniff(write(tmp_path, 'a;b\n"1,\n2,\n3,";4\n')).delimiter == ";"
    assert sniff(write(tmp_path, "only\n1\n2\n")).names == ("only",)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("latin-1"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\n\n" + text.encode(),
    ],
    ids=["utf-8", "utf-8 with a mark", "latin-1", "utf-16", "windows line ends", "blank lines"],
)
def test_encodings_and_line_ends(tmp_path, encode):
    path = write(tmp_path, encode("größe,b\nMünchen,1\n\nKöln,2"))
    rows, bad, _ = rows_of(path)
    assert rows == [{"größe": "München", "b": "1"}, {"größe": "Köln", "b": "2"}]
    assert not bad


def test_a_line_of_another_encoding_is_read_for_itself(tmp_path):
    path = write(tmp_path, "a,b\nü,1\n".encode() + "ü,2\n".encode("latin-1"))
    assert [row["a"] for row in rows_of(path)[0]] == ["ü", "ü"]


def test_compressed(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert rows_of(path)[0] == [{"a": "1", "b": "2"}]
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 99999)[:-200])
    with pytest.raises(DataError, match="cannot be read"):
        rows_of(path)


@pytest.mark.parametrize("block_bytes", [1, 16, 4 << 20])
def test_rows_with_the_wrong_number_of_fields_are_named_with_their_place(tmp_path, block_bytes):
    path = write(tmp_path, 'a,b\n1,2\n3\n4,5\n"x\ny",7\n8,9,10\n11,12\n')
    rows, bad, places = rows_of(path, block_bytes=block_bytes)
    assert [row["a"] for row in rows] == ["1", "4", "x\ny", "11"]
    assert places == [0, 2, 3, 5]
    assert bad == [
        (1, "1 fields, where 2 are expected", "3"),
        (4, "3 fields, where 2 are expected", "8,9,10"),
    ]


def test_a_column_is_typed_where_it_can_be_and_text_where_not(tmp_path):
    path = write(tmp_path, "a,b,c\n1,2,x\n3,oops,y\n5,6,z\n7,8,w\n")
    dialect = sniff(path)
    types = {"a": pa.float64(), "b": pa.float64()}
    blocks = list(read_blocks(path, dialect, types=types))
    assert [str(kind) for kind in blocks[0].table.schema.types] == ["double", "string", "string"]
    assert blocks[0].table["b"].to_pylist() == ["2", "oops", "6", "8"]
    small = list(read_blocks(path, dialect, types=types, block_bytes=12))
    kinds = [str(block.table.schema.field("b").type) for block in small]
    assert {"double", "string"} == set(kinds)


def test_only_the_columns_asked_for_come_in_the_order_asked(tmp_path):
    path = write(tmp_path, "a,b,c\n1,2,3\n")
    (block,) = read_blocks(path, sniff(path), columns=["c", "a"])
    assert block.table.to_pylist() == [{"c": "3", "a": "1"}]


def test_what_stands_for_missing(tmp_path):
    path = write(tmp_path, 'a,b\n,1\nNA,2\n"",3\nnan,4\nnull,5\nNo,6\n')
    assert [row["a"] for row in rows_of(path)[0]] == [None] * 5 + ["No"]


def test_without_a_header_columns_are_numbered(tmp_path):
    rows, _, _ = rows_of(write(tmp_path, "5,x\n6,y\n"), header=False)
    assert rows == [{"0": "5", "1": "x"}, {"0": "6", "1": "y"}]


def test_a_nameless_column_gets_a_name(tmp_path):
    assert sniff(write(tmp_path, ",a\n0,1\n")).names == ("Unnamed: 0", "a")


@pytest.mark.parametrize("block_bytes", [64, 4 << 20])
def test_a_quote_inside_a_field_is_a_quote(tmp_path, block_bytes):
    text = "a,b\n" + '5" pipe,1\n' + "".join(f"{i},x\n" for i in range(100))
    rows, bad, _ = rows_of(write(tmp_path, text), block_bytes=block_bytes)
    assert not bad
    assert len(rows) == 101
    assert rows[0]["a"] == '5" pipe'


@pytest.mark.parametrize("block_bytes", [64, 4 << 20])
@pytest.mark.parametrize("limit", [50, 16 << 20])
def test_a_quote_that_is_not_closed_costs_its_row_alone(tmp_path, monkeypatch, block_bytes, limit):
    monkeypatch.setattr(delimited, "MAX_RECORD_BYTES", limit)
    lines = [f"{i},x" for i in range(100)]
    lines[40] = '40,"x'
    path = write(tmp_path, "a,b\n" + "\n".join(lines))
    rows, bad, _ = rows_of(path, block_bytes=block_bytes)
    assert bad == [(40, "a quote is not closed", '40,"x')]
    assert [row["a"] for row in rows] == [str(i) for i in range(100) if i != 40]


def test_line_ends_of_old(tmp_path):
    rows, _, _ = rows_of(write(tmp_path, "a,b\r1,2\r3,4\r"))
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize("text", ["", "\n\n", "\r\n"])
def test_an_empty_file(tmp_path, text):
    with pytest.raises(DataError, match="empty") as caught:
        sniff(write(tmp_path, text))
    assert caught.value.where.endswith("t.csv")


def test_a_name_that_stands_twice_in_the_header(tmp_path):
    with pytest.raises(DataError, match="'a' more than once"):
        sniff(write(tmp_path, "a,b,a\n1,2,3\n"))


def test_a_header_alone_has_no_rows(tmp_path):
    assert rows_of(write(tmp_path, "a,b\n"))[0] == []


def test_many_blocks_make_the_same_rows_as_one(tmp_path):
    rng = np.random.default_rng(0)
    file = io.StringIO()
    np.savetxt(file, rng.normal(size=(3000, 4)), delimiter=",", header="a,b,c,d", comments="")
    path = write(tmp_path, file.getvalue())
    types = dict.fromkeys("abcd", pa.float64())
    assert rows_of(path, types=types, block_bytes=1000) == rows_of(path, types=types)


def test_windows_text_and_bytes_that_it_has_not(tmp_path):
    path = write(tmp_path, b"a,b\n\x80uro,1\n\x81,2\n")
    table = pa.concat_tables(block.table for block in read_blocks(path, sniff(path)))
    assert table["a"].to_pylist() == ["\u20acuro", "\x81"]


@pytest.mark.parametrize("broken", ["", "7,x,oops\n"])
def test_words_for_nothing_are_text_where_a_column_is_kept_as_written(tmp_path, broken):
    text = "id,word,n\nNA,NA,NA\nNone,a,1\n,null,null\n" + broken
    path = write(tmp_path, text.encode())
    types = {"n": pa.float64()}
    (block,) = read_blocks(path, sniff(path), types=types, nulls={"id": ("",)})
    assert block.table["id"].to_pylist()[:3] == ["NA", "None", None]
    assert block.table["word"].to_pylist()[:3] == [None, "a", None]
    assert block.table["n"].is_null().to_pylist()[:3] == [True, False, True]
