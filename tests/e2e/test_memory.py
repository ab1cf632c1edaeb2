"""Memory does not grow with the data: not for rows, not for what only looks like rows."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from unit.scoring.artifacts import table_contract, write_artifact

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc"),
]
COLUMNS = 40
FILE_ROWS = 50_000
# What the allocators keep for themselves differs by up to 55 MiB between two runs over the same
# rows; what a large source holds more than its small one is 110 MiB at the least.
SLACK_MIB = 72

RUN = """
import json, re, sys
import pandas
from pathlib import Path
from secateur.data.contract import Contract
from secateur.formats.artifact import Artifact
from secateur.scoring.check import check_data
from secateur.scoring.score import score
verb, artifact, source, out = sys.argv[1:]
if verb == "score":
    rows = score(artifact, source, out, threads=2).rows
else:
    rows = check_data(source, Artifact.open(artifact).contract).rows
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"rows": rows, "peak": peak}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("memory")
    write_artifact(home / "artifact", table_contract(columns=COLUMNS))
    x = np.random.default_rng(0).uniform(-3, 3, (FILE_ROWS, COLUMNS)).astype("float32")
    table = pa.table({f"f{i}": x[:, i] for i in range(COLUMNS)})
    for name, files in {"small": 5, "large": 20}.items():
        (home / name).mkdir()
        for number in range(files):
            pq.write_table(table, home / name / f"{number:02d}.parquet", row_group_size=25_000)
    for name, times in {"small.csv": 1, "large.csv": 12}.items():
        with pacsv.CSVWriter(home / name, table.schema) as writer:
            for _ in range(times):
                writer.write_table(table.slice(0, 20_000))
    for name, times in {"small.parquet": 12, "large.parquet": 36}.items():
        with pq.ParquetWriter(home / name, table.schema) as writer:
            for _ in range(times):
                writer.write_table(table)
    header = ",".join(table.column_names).encode() + b"\n"
    for name, size in {"small.csv.gz": 2**25, "large.csv.gz": 2**28}.items():
        (home / name).write_bytes(gzip.compress(header + b"1" * size, 1))
    return home


def run(home, verb, source):
    out = home / f"out {verb} {source}"
    arguments = [verb, home / "artifact", home / source, out]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "ending",
    ["", ".parquet", *(pytest.param(end, marks=pytest.mark.long) for end in (".csv", ".csv.gz"))],
)
@pytest.mark.parametrize("verb", ["score", "check"])
def test_as_much_for_a_lot_as_for_a_little(home, verb, ending):
    small, large = (run(home, verb, f"{size}{ending}") for size in ("small", "large"))
    assert large["rows"] >= 3 * small["rows"] or ending == ".csv.gz"
    assert large["peak"] < small["peak"] + SLACK_MIB, (small, large)
