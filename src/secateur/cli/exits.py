"""The exit codes, and what they mean: one table, which the help and the documentation show."""

from __future__ import annotations

from collections.abc import Mapping

DONE, DEFECT, MENDABLE, TOO_MANY_BAD, UNUSABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130

EXITS: Mapping[int, str] = {
    DONE: "done",
    DEFECT: "a defect of secateur, with a traceback",
    MENDABLE: "something that you can mend; one line says what, where and how",
    TOO_MANY_BAD: "more rows are bad than --max-bad allows; what was done is kept",
    UNUSABLE: "nothing of the data could be scored (secateur score, secateur check)",
    INTERRUPTED: "interrupted (ctrl-C); one line says how to go on",
}

# \b keeps the lines apart where the help is wrapped.
IN_HELP = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {what}" for code, what in EXITS.items())
