"""What each command's `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from secateur.cli.told import (
    CompareTold,
    DemoTold,
    DoctorTold,
    ExploreTold,
    ExportTold,
    InitTold,
    InspectTold,
    LogTold,
    PlanTold,
    ReportTold,
    RunTold,
)
from secateur.cli.told_artifacts import SealTold, SignTold, VerifyTold, WrittenTold
from secateur.job.rehearsed import CompareRehearsal, ExploreRehearsal, Rehearsal
from secateur.scoring.findings import DataCheck
from secateur.scoring.rehearsal import ScoreRehearsal
from secateur.scoring.tally import Tally

TOLD: Mapping[str, type[BaseModel]] = {
    "init": InitTold,
    "inspect": InspectTold,
    "plan": PlanTold,
    "run": RunTold,
    "run --dry-run": Rehearsal,
    "explore": ExploreTold,
    "explore --dry-run": ExploreRehearsal,
    "compare": CompareTold,
    "compare --dry-run": CompareRehearsal,
    "export": ExportTold,
    "check": DataCheck,
    "score": Tally,
    "score --dry-run": ScoreRehearsal,
    "verify": VerifyTold,
    "sign": SignTold,
    "pack": WrittenTold,
    "seal": SealTold,
    "open": WrittenTold,
    "report": ReportTold,
    "log": LogTold,
    "demo": DemoTold,
    "doctor": DoctorTold,
}
