"""`secateur score --dry-run`: what there is to score, and whether it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateur.cli import out as sink

if TYPE_CHECKING:
    from secateur.data.databases import Query
    from secateur.formats.artifact import Artifact

_SHOWN = 5


def rehearse_scoring(
    artifact: Artifact, data: str | Query, out: str, *, json: bool, **asked: Any
) -> None:
    """Count the parts, score the first rows, and tell what was found. Nothing is written."""
    from secateur.scoring.rehearsal import rehearse

    with sink.waiting("looking"):
        found = rehearse(artifact, data, out, **asked)
    if json:
        sink.as_json(found)
        return
    rows = "" if found.rows is None else f", {found.rows:,} rows"
    sink.result(
        f"{found.files:,} files, {found.bytes:,} bytes{rows}, in {found.parts:,} parts; "
        f"{found.done:,} of them done before"
    )
    sink.result(f"of the first {found.sampled:,} rows {found.bad:,} would go to quarantine")
    for reason, count in list(found.reasons.items())[:_SHOWN]:
        sink.result(f"  {count:,} x {reason}")
    for path, why in list(found.unusable.items())[:_SHOWN]:
        sink.result(f"unusable: {path}: {why}")
    if len(found.unusable) > _SHOWN:
        sink.result(f"unusable: {len(found.unusable) - _SHOWN:,} more files")
    sink.passed_over(found.passed_over)
    sink.result(f"nothing was written; without --dry-run the scores go to {out}")
