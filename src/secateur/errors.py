"""What can go wrong: every error names what is wrong, where, and how to mend it.

A `SecateurError` is the user's to mend: the command line prints its three parts and exits with
`exit_code`, without a traceback. Anything else that is raised is a defect of secateur.
"""

from __future__ import annotations


class SecateurError(Exception):
    """An error that the user can mend.

    Args:
        what: one sentence that says what is wrong, with what was received.
        where: the file, column, layer or recipe key at fault.
        mend: one sentence that says what to do.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, mend: str | None = None):
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend
        super().__init__(what)

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        mend = f" {self.mend}" if self.mend else ""
        return f"{where}{self.what}{mend}"


class DataError(SecateurError):
    """The data cannot be read, or is not what was asked for."""


class StoreError(SecateurError):
    """A store or a database cannot be reached, which says nothing of the data in it."""


class ContractError(DataError):
    """Data does not keep the contract that a model was trained under."""


class ModelError(SecateurError):
    """The model cannot be loaded, traced or run as it is."""


class PlanError(SecateurError):
    """A plan cannot be made, or does not belong to this model."""


class BudgetError(PlanError):
    """A budget is out of range or cannot be met."""


class RecipeError(SecateurError):
    """A recipe has a key or a value that means nothing."""


class ArtifactError(SecateurError):
    """An artifact is incomplete, changed, or made by something else."""


class OutputError(SecateurError):
    """The output cannot be written: it exists, belongs to another job, or the disk is full."""


class MissingExtraError(SecateurError):
    """An optional package is not installed."""


class TooManyBadRowsError(SecateurError):
    """More rows were quarantined than the caller allows."""

    exit_code = 3
