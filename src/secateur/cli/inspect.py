"""`secateur inspect`: what a model is made of, what it costs, and what can be cut from it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.cli import out as sink
from secateur.cli.about import about, is_secret, model_file, opened
from secateur.cli.idle import refuse_without
from secateur.cli.keras_setup import prepare
from secateur.cli.labelled import Above, Header, Ignore, Key, Reading, Target, read_for
from secateur.cli.trusted import (
    Identity,
    PassphraseFile,
    Roots,
    SignedBy,
    refuse_sealed,
    signer,
)
from secateur.errors import DataError

if TYPE_CHECKING:
    from secateur.graph.graph import Graph


def inspect(
    model: Annotated[
        Path, typer.Argument(help="A .keras or .h5 file, or an artifact.", metavar="MODEL")
    ],
    batch: Annotated[
        list[int] | None,
        typer.Option("--batch", min=1, help="A batch size to time; 1 and 32 by default."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of one call.")] = 1,
    data: Annotated[
        str | None, typer.Option("--data", help="Data with labels, for --sensitivity.")
    ] = None,
    target: Target = None,
    above: Above = None,
    key: Key = None,
    ignore: Ignore = None,
    header: Header = True,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Measure the loss as each group alone loses units."),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="With --sensitivity: the criterion by which units of a group go; l2 by default.",
        ),
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option(
            "--round-to",
            min=1,
            help="With --sensitivity: widths that are left are multiples of this; 8 by default.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, help="With --sensitivity: how many rows are used; 512 by default."
        ),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Time the model in ONNX Runtime.")
    ] = True,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    signed_by: SignedBy = None,
    certificates: Roots = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show layers, parameters, multiply-accumulates, latency, and what can be pruned or why not.

    Of an artifact, what its manifest says comes first. Of a sealed one that is all there is, since
    its layers are read from a file and nothing of it is written.
    """
    options: dict[str, Any] = {"by": by, "round_to": round_to, "samples": samples}
    options = {name: value for name, value in options.items() if value is not None}
    given = {f"--{name.replace('_', '-')}": True for name in options}
    how = Reading(target, above, key, ignore, header)
    given |= {"--data": data is not None, **how.given}
    refuse_without("--sensitivity", given, there=sensitivity)
    if json:
        refuse_sealed(model, "Its layers are not read: `secateur open` it, or leave out --json.")
    asked = signer(signed_by, certificates)
    artifact = opened(model, identity, passphrase_file, asked)
    if artifact is not None:
        if not json:
            about(artifact, checked=asked is not None)
        if is_secret(artifact):
            return
    if sensitivity and data is None:
        raise DataError(
            "sensitivity is measured on data with labels.",
            where="--sensitivity",
            mend="Give --data.",
        )
    if by is not None:
        # Before the model is read and timed.
        from secateur.planning.criteria import criterion

        criterion(by)
    prepare()
    with sink.waiting("tracing and timing" if latency else "tracing"):
        from secateur.cost.measure import measure
        from secateur.graph.trace import trace
        from secateur.models.load import load_model_with_notes

        with model_file(model, artifact) as file:
            loaded, notes = load_model_with_notes(file)
        graph = trace(loaded)
        cost = measure(
            loaded,
            runtime="onnxruntime" if latency else None,
            batches=tuple(batch or (1, 32)),
            threads=threads,
        )
    curves = []
    if sensitivity:
        assert data is not None
        with sink.waiting("cutting each group alone"):
            from secateur.steps.sensitivity import sensitivity as measured

            rows = read_for(graph.model, data, how, where=model)
            curves = [asdict(each) for each in measured(graph.model, rows, **options)]
    sink.notes(notes)
    layers = _layers(graph)
    groups = [
        {
            "name": each.name,
            "kind": each.kind,
            "members": list(each.members),
            "units": len(each),
            "free": int(each.free.sum()),
            "why": list(each.pins),
        }
        for each in (*graph.groups, *graph.fixed)
    ]
    if json:
        told = {"model": loaded.name, "cost": cost.model_dump(mode="json")}
        told |= {"layers": layers, "groups": groups}
        sink.as_json(told | {"sensitivity": curves} if sensitivity else told)
        return
    sink.table(
        loaded.name,
        ("layer", "kind", "output", "parameters", "MACs"),
        [
            (
                each["layer"],
                each["kind"],
                each["output"],
                _count(each["parameters"]),
                _count(each["macs"]),
            )
            for each in layers
        ],
    )
    sink.result("")
    sink.result(
        f"{cost.parameters:,} parameters, {cost.bytes:,} bytes, {cost.macs:,} MACs a sample"
    )
    for each in cost.latencies:
        sink.result(
            f"batch {each.batch}: {each.median_ms:.3f} ms (p95 {each.p95_ms:.3f} ms) in "
            f"{each.runtime}, {each.threads} thread{'s' if each.threads > 1 else ''}"
        )
    sink.result("")
    sink.table(
        "can be pruned",
        ("units", "of", "kind", "made by"),
        [
            (each["free"], each["units"], each["kind"], ", ".join(each["members"]))
            for each in groups
            if each["free"]
        ],
    )
    sink.result("")
    sink.table(
        "cannot be pruned",
        ("units", "kind", "made by", "why"),
        [
            (each["units"], each["kind"], ", ".join(each["members"]), "; ".join(each["why"]))
            for each in groups
            if not each["free"]
        ],
    )
    _sensitivity(curves)


def _sensitivity(curves: list[dict[str, Any]]) -> None:
    """Show the loss of each group at each share, as cut and healed."""
    if not curves:
        return
    sink.result("")
    sink.table(
        f"sensitivity (loss of the whole model {curves[0]['whole']:.4g})",
        ("made by", "removed", "of", "loss as cut", "healed"),
        [
            (each["group"], removed, each["units"], f"{cut:.4g}", f"{healed:.4g}")
            for each in curves
            for removed, cut, healed in zip(
                each["removed"], each["cut"], each["healed"], strict=True
            )
        ],
    )


def _layers(graph: Graph) -> list[dict[str, Any]]:
    """Return every operation in order, with its weights and its multiply-accumulates."""
    sizes = graph.sizes(graph.everything())
    found: dict[str, dict[str, Any]] = {}
    for call in graph.calls:
        shape = graph.tensors[call.outputs[0]].shape if call.outputs else ()
        found.setdefault(
            call.path,
            {
                "layer": call.path,
                "kind": type(call.operation).__name__,
                "output": " x ".join(map(str, shape[1:])),
                "parameters": 0,
                "macs": 0,
            },
        )
    for key, size in sizes.items():
        entry = found.get(key.rpartition("/")[0])
        if entry is not None:
            entry["parameters"] += size
            entry["macs"] += size * graph.weights[key].uses
    return list(found.values())


def _count(value: int) -> str:
    return f"{value:,}" if value else ""
