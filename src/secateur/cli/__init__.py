"""The command line: one file a verb, one place that prints, one table of errors."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: what was typed after `secateur`; by default the process's own.
    """
    try:
        from secateur.cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    app(args=None if arguments is None else list(arguments), prog_name="secateur")
