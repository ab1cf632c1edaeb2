"""What a look at data found: plain values, with a JSON form that stays as it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from secateur.data.watch import ColumnFinding


class Unread(BaseModel):
    """A piece of the data that cannot be read: its file, why, and its rows where they are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    reason: str
    rows: int | None = None


class ImageFinding(BaseModel):
    """What images are like as files.

    Attributes:
        sizes: the most frequent sizes, "height x width", with how often each is there.
        modes: the modes, such as "RGB" or "CMYK".
        gray: the share of the images without colour.
        gray_in_training: the same of the training images, where it is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: dict[str, int] = {}
    modes: dict[str, int] = {}
    gray: float | None = None
    gray_in_training: float | None = None


class DataCheck(BaseModel):
    """What `check_data` found.

    Attributes:
        format: changes when a field changes its meaning or goes.
        contract: the contract's fingerprint.
        source: what was checked.
        parts: files, chunks of images, or parts of large Parquet files.
        rows: the rows (or images) that were looked at.
        whole: whether that is all of them.
        quarantined: how many of the rows scoring would quarantine.
        reasons: these rows by reason, with "..." for values and numbers.
        unread: pieces that would be quarantined as a whole, the first of them; see `unread_parts`.
        unread_parts: how many such pieces there are.
        uncounted_parts: how many of them nobody knows the number of rows of.
        absent: input and key columns that files lack, with how many pieces lack them.
        extra: columns that the model does not read, with how many pieces have them.
        passed_over: files that are no data, by their ending.
        columns: each input, and the target where the data has it.
        images: what images are like, for images.
        usable: whether scoring would score anything at all; else `unusable` says why not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    contract: str
    source: str
    parts: int
    rows: int = 0
    whole: bool = True
    quarantined: int = 0
    reasons: dict[str, int] = {}
    unread: tuple[Unread, ...] = ()
    unread_parts: int = 0
    uncounted_parts: int = 0
    absent: dict[str, int] = {}
    extra: dict[str, int] = {}
    passed_over: dict[str, int] = {}
    columns: tuple[ColumnFinding, ...] = ()
    images: ImageFinding | None = None
    usable: bool = True
    unusable: str | None = None

    @property
    def bad_share(self) -> float:
        """The share of rows, or of pieces that cannot be counted, that would be quarantined."""
        rows = self.quarantined / self.rows if self.rows else 0.0
        return max(rows, self.uncounted_parts / self.parts if self.parts else 0.0)
