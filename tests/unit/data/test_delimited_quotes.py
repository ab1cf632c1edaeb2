"""Quotes that are not closed cost their own rows alone, however many there are."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.data.delimited import read_blocks, sniff


def rows_of(path, columns=("id", "a", "b"), **options):
    import pyarrow as pa

    types = {"a": pa.float64(), "b": pa.float64()}
    good, bad = {}, {}
    for block in read_blocks(path, sniff(path), columns=columns, types=types, **options):
        ids = block.table.column("id").to_pylist()
        good |= dict(zip(block.rows.tolist(), ids, strict=True))
        bad |= {row.row: row.reason for row in block.bad}
    return good, bad


@pytest.mark.parametrize("block_bytes", [64, 100, 4096])
@pytest.mark.parametrize("field", ["a", "b"])
def test_two_open_quotes_do_not_swallow_what_is_between(tmp_path, block_bytes, field):
    lines = [f"{i},{i}.5,{i}.25" for i in range(60)]
    for row in (7, 19, 20, 41, 55):
        lines[row] = f'{row},"{row}.5,1' if field == "a" else f'{row},1,"{row}'
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,a,b", *lines]) + "\n")
    good, bad = rows_of(path, block_bytes=block_bytes)
    assert set(bad) == {7, 19, 20, 41, 55}
    assert set(bad.values()) == {"a quote is not closed"}
    assert good == {row: str(row) for row in range(60) if row not in bad}


def test_line_ends_inside_quotes_are_kept_beside_a_quote_that_is_not_closed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('id,a,b\n"one\ntwo",1,2\nthree,"1,2\n"four\nfive",3,4\nsix,"3,4\nseven,1,1\n')
    good, bad = rows_of(path)
    assert good == {0: "one\ntwo", 2: "four\nfive", 4: "seven"}
    assert set(bad) == {1, 3}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(30, 200))
def test_any_rows_with_open_quotes(tmp_path_factory, opened, block_bytes):
    path = tmp_path_factory.mktemp("quotes") / "t.csv"
    lines = [f'{i},"{i},1' if is_open else f"{i},{i},1" for i, is_open in enumerate(opened)]
    path.write_text("\n".join(["id,a,b", *lines]))
    good, bad = rows_of(path, block_bytes=block_bytes)
    assert set(bad) == set(np.flatnonzero(opened))
    assert set(good) == set(np.flatnonzero(~np.array(opened)))


def test_a_row_of_too_many_fields_that_is_not_utf8(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,a,b\n0,1,1\n1,1,1,\xff\n2,1,1\n")
    good, bad = rows_of(path)
    assert good == {0: "0", 2: "2"}
    assert bad == {1: "4 fields, where 3 are expected"}
