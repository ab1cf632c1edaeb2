"""What the units of a group are, found by the wiring around them.

| kind | units |
|---|---|
| `channel` | neurons, filters, embedding columns |
| `stream` | the width of a residual stream: what a residual sum gives |
| `head` | attention heads, query heads inside the key and value heads that they share |
| `query-key` | the size of an attention's queries and keys |
| `value` | the size of an attention's values |
| `cell` | recurrent cells |
| `block` | whole residual blocks |

An attention is two products of tensors with a softmax between them, whatever layer it is in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from secateur.graph.blocks import summands
from secateur.graph.graph import Graph, Group
from secateur.graph.rule import Contract, Elementwise, Flow, Move, expanded
from secateur.graph.sweep import Call
from secateur.graph.units import Ids

Mark = Callable[["Ids | None", str], None]
Labels = Mapping[str, "Ids | None"]

# Of a group that is several things, the first of these is told.
_ORDER = ("head", "stream", "query-key", "value", "cell", "channel")


def with_kinds(graph: Graph) -> Graph:
    """Return a graph whose groups have their kind."""
    rank = np.full(graph.units, len(_ORDER) - 1)

    def mark(ids: Ids | None, kind: str) -> None:
        if ids is not None:
            rank[ids] = np.minimum(rank[ids], _ORDER.index(kind))

    _mark_cells(graph, mark)
    _mark_streams(graph, mark)
    _mark_attention(graph, mark)

    def told(group: Group) -> Group:
        return replace(group, kind=_ORDER[int(rank[group.units].min())])

    return replace(
        graph, groups=tuple(map(told, graph.groups)), fixed=tuple(map(told, graph.fixed))
    )


def _mark_cells(graph: Graph, mark: Mark) -> None:
    for call in graph.calls:
        if isinstance(call.rule, Flow) and call.rule.states:
            mark(graph.tensors[call.outputs[0]].axes[call.rule.axis], "cell")


def _mark_streams(graph: Graph, mark: Mark) -> None:
    """Mark what a sum gives one of whose tensors skips layers that the other has passed."""
    passed: dict[int, int] = defaultdict(int)
    above: dict[int, int] = {}
    for call in graph.calls:
        mints = bool(getattr(call.rule, "mints", False)) or (
            isinstance(call.rule, Contract) and bool(call.rule.weights)
        )
        depth = max((passed[index] for index in call.inputs), default=0) + mints
        come = 0
        for index in call.inputs:
            if index not in graph.constants:
                come |= above.setdefault(index, 1 << index)
        for index in call.outputs:
            passed[index], above[index] = depth, come | 1 << index
        operands = summands(call)
        if operands is not None:
            one, other = (value.index for value in operands)
            skips = passed[one] != passed[other]
            if skips and above.get(one, 0) & above.get(other, 0):
                for ids in graph.tensors[call.outputs[0]].axes:
                    mark(ids, "stream")


def _mark_attention(graph: Graph, mark: Mark) -> None:
    """Mark what takes part in a product of tensors, a softmax, and a product with its result."""
    # For each tensor of scores, the products that they come from, and whether a softmax is passed.
    scores: dict[int, tuple[tuple[Call, ...], bool]] = {}
    for call in graph.calls:
        rule = call.rule
        if isinstance(rule, Contract) and not rule.weights:
            labels = _labels(graph, call)
            if labels is None:
                continue
            if rule.fixed and len(labels) > 2:
                # One operation that is both products.
                _mark_scores([*labels[:2], labels[-1]], mark)
                _mark_values(labels[2], {**labels[0], **labels[1]}, labels[-1], mark)
                continue
            for place, index in enumerate(call.inputs[: len(rule.inputs)]):
                firsts, softened = scores.get(index, ((), False))
                for first in firsts if softened else ():
                    _mark_scores(_labels(graph, first), mark)
                for other in range(len(labels) - 1) if softened else ():
                    if other != place:
                        _mark_values(labels[other], labels[place], labels[-1], mark)
            scores[call.outputs[0]] = ((call,), False)
        elif isinstance(rule, (Elementwise, Move)):
            found = [scores[index] for index in call.inputs if index in scores]
            firsts = tuple({id(each): each for some, _ in found for each in some}.values())
            softmax = isinstance(rule, Elementwise) and bool(rule.fixed)
            softened = softmax or any(passed for _, passed in found)
            scores |= dict.fromkeys(call.outputs if found else (), (firsts, softened))


def _labels(graph: Graph, call: Call) -> list[Labels] | None:
    """Return the ids by label, of each operand of a product of tensors and of its output."""
    rule = call.rule
    assert isinstance(rule, Contract)
    if len(call.inputs) < len(rule.inputs):
        # One operand is a constant.
        return None
    found = []
    texts = (*rule.inputs, rule.output)
    tensors = (*call.inputs[: len(rule.inputs)], call.outputs[0])
    for text, index in zip(texts, tensors, strict=True):
        axes = graph.tensors[index].axes
        labels = expanded(text, len(axes))
        if len(labels) != len(axes):
            return None
        found.append(dict(zip(labels, axes, strict=True)))
    return found


def _mark_scores(labels: Sequence[Labels] | None, mark: Mark) -> None:
    if labels is None or len(labels) < 3:
        return
    query, key, *_, output = labels
    for label in query.keys() | key.keys():
        kind = "head" if label in output else "query-key"
        for operand in (query, key):
            mark(operand.get(label), kind)


def _mark_values(value: Labels, scores: Labels, output: Labels, mark: Mark) -> None:
    for label in value.keys() & output.keys():
        mark(value[label], "head" if label in scores else "value")
