"""Options that do nothing without another one."""

from __future__ import annotations

from collections.abc import Mapping

from secateur.errors import SecateurError


def refuse_without(needed: str, given: Mapping[str, bool], *, there: bool) -> None:
    """Refuse options of another one, such as `--target` of `--data`, where that is not given.

    Args:
        needed: the other option.
        given: for each option, whether it was given.
        there: whether the other one was.

    Raises:
        SecateurError: naming the first.
    """
    for option in (name for name, was in given.items() if was and not there):
        raise SecateurError(f"{option} is of {needed}, and there is none.", mend=f"Give {needed}.")
