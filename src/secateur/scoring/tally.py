"""What became of the rows: the counts of a scoring job, which must add up."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Trial(BaseModel):
    """One way to run the model that was tried on the first rows, and how fast it was.

    Attributes:
        runtime: the runtime.
        chunk: the rows of one call.
        threads: how many calls at a time.
        rows_per_second: of the model alone, or, of trials of threads, of all the work on a block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    chunk: int
    threads: int = 1
    rows_per_second: float


class Tally(BaseModel):
    """The counts of an output folder, and the speed of the run that completed it.

    Every row that was read is either scored or quarantined; a tally that does not add up cannot be
    made.

    Attributes:
        parts: pieces of the source: a file, some row groups of a large Parquet file, or a chunk of
            image files.
        resumed: how many of the parts an earlier run had done already.
        rows: all rows of the source.
        scored: rows with a prediction.
        quarantined: rows without one, each with its reason in `quarantine/`.
        unread: parts that could not be read at all. Where the number of their rows is known, the
            rows count as quarantined; where it is not, they count as none.
        bytes: the size of the source.
        seconds: how long this run took.
        rows_per_second: the rows that this run did, scored or quarantined, a second.
        runtime: what ran the model.
        chunk: how many rows went through it at once.
        threads: how many cores this run used; 0 for all of a cluster.
        tried: what was measured to choose them, where something was.
        passed_over: the files of a folder that are no data, by their ending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: int = Field(ge=0)
    resumed: int = Field(default=0, ge=0)
    rows: int = Field(ge=0)
    scored: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    unread: int = Field(default=0, ge=0)
    bytes: int = Field(ge=0)
    seconds: float = Field(ge=0)
    rows_per_second: float = Field(ge=0)
    runtime: str = "onnxruntime"
    chunk: int = 0
    threads: int = 0
    tried: tuple[Trial, ...] = ()
    passed_over: dict[str, int] = {}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows != self.scored + self.quarantined:
            raise ValueError(
                f"{self.rows} rows are not {self.scored} scored and {self.quarantined} quarantined"
            )
        return self

    def summary(self) -> str:
        """Say it in one line."""
        unread = f", {self.unread} parts unread" if self.unread else ""
        return (
            f"{self.rows:,} rows: {self.scored:,} scored, {self.quarantined:,} quarantined"
            f"{unread}; {self.seconds:.1f} s, {self.rows_per_second:,.0f} rows/s"
        )
