"""The tables of docs/scale.md, from what `scoring.py --out` measured.

    python benchmarks/scale.py results.jsonl [--cores 16] [--store 1.0] [--into docs/scale.md]

What was measured is a cost: cores times seconds for a million rows. What follows for more rows and
more machines is arithmetic:

    computing = rounds * rows of a part * core-seconds a row
    rounds    = parts / (machines * cores), rounded up: a part is done by one core
    reading   = rows * bytes a row / (machines * bytes a second of the store for each machine)

A part is read while others are computed, so a job takes the longer of the two: its bottleneck.

It takes for granted that each machine reads at `--store` GB/s whatever the others do, that a core
does what a core of the measured machine did with all its cores at work, and that the job has
started: a few seconds for Ray and for the model in each worker are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scoring import HEAD, TITLE, lines_of, machine_lines, memory_lines
from scoring_data import FILE_ROWS, KINDS
from scoring_limits import MODEL, READ, SECATEUR
from secateur.data.sources import IMAGES_PER_PART
from secateur.scoring.pieces import PIECE_ROWS

Record = dict[str, Any]
MACHINES = (1, 10, 100)
JOBS = {"parquet": 1_000_000_000, "csv": 1_000_000_000, "jpeg": 100_000_000}
# A CSV file is one part; those that were measured are small, and those of large data are not.
PART_ROWS = {"parquet": PIECE_ROWS, "csv": 5 * FILE_ROWS["csv"], "jpeg": IMAGES_PER_PART}


class Time(NamedTuple):
    """How long a job takes: computing, and reading from the store, in seconds."""

    computing: float
    reading: float

    @property
    def bottleneck(self) -> str:
        """What a job waits for."""
        return "cores" if self.computing >= self.reading else "store"


def core_seconds(record: Record) -> float:
    """Return what a million rows cost: the seconds, times the cores that were kept for them."""
    return record["threads"] * 1e6 / record["rate"]


def row_bytes(record: Record) -> float:
    return record["bytes"] / record["rows"]


def time_of(
    record: Record, rows: int, *, part_rows: int, machines: int, cores: int, store: float
) -> Time:
    """Return how long `rows` rows take, by arithmetic from a record of secateur.

    Args:
        record: what was measured.
        rows: the rows of the job.
        part_rows: the rows of a part, which one core does.
        machines: how many machines there are.
        cores: the cores of each.
        store: the bytes a second that each machine reads.
    """
    rounds = math.ceil(math.ceil(rows / part_rows) / (machines * cores))
    computing = rounds * part_rows * core_seconds(record) / 1e6
    return Time(computing, rows * row_bytes(record) / (machines * store))


def largest(records: list[Record], kind: str, method: str = SECATEUR) -> Record | None:
    """Return the record of the most rows, in the most threads."""
    found = [r for r in records if (r["kind"], r["method"]) == (kind, method) and "rate" in r]
    return max(found, key=lambda r: (r["threads"], r["rows"]), default=None)


def cost_table(records: list[Record]) -> Iterator[str]:
    yield (
        "| data | rows | bytes a row | core-seconds a million rows | of which reading "
        "| and the model | rows/s a core |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for kind in KINDS:
        ours = largest(records, kind)
        if ours is None:
            continue
        parts = [largest(records, kind, method) for method in (READ, MODEL)]
        shares = " | ".join(f"{core_seconds(part):,.2f}" for part in parts if part)
        yield (
            f"| {TITLE[kind]} | {ours['rows']:,} | {row_bytes(ours):,.0f} "
            f"| {core_seconds(ours):,.2f} | {shares} | {ours['rate'] / ours['threads']:,.0f} |"
        )


def threads_table(records: list[Record]) -> Iterator[str]:
    yield "| data | rows | threads | rows/s | speed-up | of one thread, a thread |"
    yield "|---|---:|---:|---:|---:|---:|"
    ours = [one for one in records if one["method"] == SECATEUR]
    for kind in KINDS:
        found = [one for one in ours if one["kind"] == kind]
        rows = min((one["rows"] for one in found), default=0)
        found = sorted((r for r in found if r["rows"] == rows), key=lambda r: r["threads"])
        for one in found:
            faster = one["rate"] / found[0]["rate"]
            each = faster * found[0]["threads"] / one["threads"]
            yield (
                f"| {TITLE[kind]} | {rows:,} | {one['threads']} | {one['rate']:,.0f} "
                f"| {faster:.2f}x | {each:.0%} |"
            )


def jobs_table(records: list[Record], cores: int, store: float) -> Iterator[str]:
    yield (
        f"| job | data | core-hours | machines of {cores} cores "
        f"| computing | reading, {store:g} GB/s each | bottleneck |"
    )
    yield "|---|---:|---:|---:|---:|---:|---|"
    for kind, rows in JOBS.items():
        record = largest(records, kind)
        if record is None:
            continue
        what = "images" if kind == "jpeg" else f"rows of {TITLE[kind]}"
        size = _size(rows * row_bytes(record))
        hours = rows / 1e6 * core_seconds(record) / 3600
        for machines in MACHINES:
            took = time_of(
                record,
                rows,
                part_rows=PART_ROWS[kind],
                machines=machines,
                cores=cores,
                store=store * 1e9,
            )
            yield (
                f"| {rows:,} {what} | {size} | {hours:,.1f} | {machines} "
                f"| {_clock(took.computing)} | {_clock(took.reading)} | {took.bottleneck} |"
            )


def method_table(records: list[Record]) -> Iterator[str]:
    yield HEAD
    cases = dict.fromkeys((one["kind"], one["rows"], one["threads"]) for one in records)
    for case in cases:
        yield from lines_of([r for r in records if (r["kind"], r["rows"], r["threads"]) == case])


def _size(count: float) -> str:
    return f"{count / 1e12:,.2f} TB" if count >= 1e12 else f"{count / 1e9:,.0f} GB"


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="what `scoring.py --out` wrote")
    parser.add_argument("--cores", type=int, default=16, help="of a machine of a large job")
    parser.add_argument("--store", type=float, default=1.0, help="GB/s that each machine reads")
    parser.add_argument("--into", type=Path, help="a page whose tables are replaced")
    options = parser.parse_args()
    here, *records = map(json.loads, options.results.read_text().splitlines())
    tables = {
        "methods": "\n".join(method_table(records)),
        "memory": "\n".join(memory_lines(records)),
        "machine": "\n".join(machine_lines(here, records)),
        "costs": "\n".join(cost_table(records)),
        "threads": "\n".join(threads_table(records)),
        "jobs": "\n".join(jobs_table(records, options.cores, options.store)),
    }
    if options.into is None:
        print("\n\n".join(tables.values()))
        return
    page = options.into.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- begin of {name} -->", f"<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not place.search(page):
            raise SystemExit(f"{options.into} has no place for the table {name!r}")
        page = place.sub(lambda _, t=(begin, table, end): "\n\n".join(t), page)
    options.into.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
