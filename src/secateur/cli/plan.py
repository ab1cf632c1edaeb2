"""`secateur plan`: what would be cut, without cutting it."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli import out as sink
from secateur.cli.idle import refuse_without
from secateur.cli.keras_setup import prepare
from secateur.cli.labelled import Above, Header, Ignore, Key, Reading, Target, read_for
from secateur.errors import OutputError, PlanError


def plan(
    model: Annotated[Path, typer.Argument(help="A .keras or .h5 file.", metavar="MODEL")],
    macs: Annotated[
        float | None, typer.Option("--macs", help="The share of the MACs that may be left.")
    ] = None,
    params: Annotated[
        float | None, typer.Option("--params", help="The share of the parameters that may be left.")
    ] = None,
    bytes: Annotated[
        float | None,
        typer.Option("--bytes", help="The share of the stored bytes that may be left."),
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option("--latency", help="The share of the measured latency that may be left."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            help="With --latency: onnxruntime, openvino or litert; onnxruntime by default.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="With --latency: the rows of one call; 1 by default."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="With --latency: the threads of one call; 1 by default."
        ),
    ] = None,
    ratio: Annotated[
        float | None, typer.Option("--ratio", help="The share of the units that goes.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="The criterion: l1, l2, lamp, bn_scale, fpgm or random; with --data also "
            "activation, apoz, wanda or reconstruction; with labels in it taylor or obd.",
        ),
    ] = "l2",
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="global: groups compete; local: the same share of each; isomorphic: groups that "
            "are built alike compete.",
        ),
    ] = "global",
    round_to: Annotated[
        int, typer.Option("--round-to", help="Widths that are left are multiples of this.")
    ] = 8,
    floor: Annotated[
        float, typer.Option("--floor", help="The smallest share of a group of units that stays.")
    ] = 0.1,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Layers that stay as they are: a name or pattern. Repeatable."),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            help="What may go, by commas: channel, stream, head, query-key, value, cell, block; "
            "all but block by default.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Data, for criteria that look at some.")
    ] = None,
    target: Target = None,
    above: Above = None,
    key: Key = None,
    ignore: Ignore = None,
    header: Header = True,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, help="With --data: how many rows are looked at; 512 by default."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="A file to write the plan to.", metavar="FILE")
    ] = None,
) -> None:
    """Show what would go, from where, and what it would save. Nothing is changed."""
    timing: dict[str, Any] = {"runtime": runtime, "batch": batch, "threads": threads}
    timing = {name: value for name, value in timing.items() if value is not None}
    refuse_without("--latency", {f"--{name}": True for name in timing}, there=latency is not None)
    how = Reading(target, above, key, ignore, header)
    given = {**how.given, "--samples": samples is not None}
    refuse_without("--data", given, there=data is not None)
    if out is not None and out.exists():
        raise OutputError("the file exists already.", where=out, mend="Name another file.")
    prepare()
    with sink.waiting("planning"):
        from secateur.files import write_whole
        from secateur.graph.observe import observe
        from secateur.graph.trace import trace
        from secateur.models.load import load_model_with_notes
        from secateur.planning.criteria import criterion, needed, needs_labels
        from secateur.planning.options import budget_of
        from secateur.planning.plan import plan as decide
        from secateur.steps.timed import plan_for_latency

        rank = criterion(by)
        needs = needed(rank)
        shares = {
            "macs": macs,
            "params": params,
            "bytes": bytes,
            "latency": latency,
            "ratio": ratio,
        }
        budget_of(**shares)
        if needs - {"weights"} and data is None:
            raise PlanError(
                f"the criterion {by!r} needs data{' with labels' if needs_labels(rank) else ''}.",
                where="--by",
                mend="Give --data, or use --by l2.",
            )
        loaded, notes = load_model_with_notes(model)
        graph = trace(loaded)
        rows = None
        if needs - {"weights"}:
            assert data is not None
            dataset = read_for(graph.model, data, how, where=model)
            x, y = dataset.train.sample(samples or 512)
            rows = (x, y) if needs_labels(rank) else x
        stats = observe(graph, rows, needs=needs)
        options: dict[str, Any] = {
            "by": by,
            "scope": scope,
            "round_to": round_to,
            "floor": floor,
            "keep": tuple(keep or ()),
            "kinds": None if kinds is None else tuple(kind.strip() for kind in kinds.split(",")),
        }
        if latency is not None:
            timed = plan_for_latency(graph, stats, latency, **timing, **options)
            made, notes = timed.plan, (*notes, timed.note)
        else:
            made = decide(graph, stats, **shares, **options)
    sink.notes(notes)
    if out is not None:
        write_whole(out, made.to_json())
    if json:
        sink.as_json(json_text.loads(made.to_json()))
    else:
        sink.result(made.explain())
