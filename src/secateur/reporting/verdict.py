"""The one sentence that matters, and what backs it: all of it computed from the stages.

Nothing here rounds in anybody's favour: slower is called slower, a difference that the figures do
not show is called unchanged, and what was not measured is said not to have been.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from secateur.reporting import units
from secateur.reporting.record import LatencyView, MetricsView, Run, Stage
from secateur.reporting.robust import losses

# Two timings of one and the same file differ by a few per cent from run to run.
_SAME_SPEED = 1.05
_SAME_SIZE = 1.005


@dataclass(frozen=True)
class Pair:
    """One figure before and after; either may be missing."""

    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """How many times the figure before is that after."""
        if not self.before or not self.after:
            return None
        return self.before / self.after

    @property
    def change(self) -> float | None:
        """After less before."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """The baseline against what came out, figure by figure.

    What came out is the last stage; a figure that it lacks (an exported file has no MACs of its
    own) is that of the last stage before it that has one.
    """

    baseline: Stage | None
    outcome: Stage | None
    metrics_before: MetricsView | None
    metrics_after: MetricsView | None
    parameters: Pair
    macs: Pair
    bytes: Pair
    latencies: tuple[tuple[LatencyView, LatencyView], ...]
    """Before and after, of each setting at which both were taken."""

    @property
    def regression(self) -> bool:
        """Whether the model predicts a value, not a class."""
        known = self.metrics_after or self.metrics_before
        return known is not None and known.task == "regression"

    @property
    def quality(self) -> tuple[str, Pair]:
        """The name of the figure that says how good the model is, before and after."""
        for name, title in (("accuracy", "Accuracy"), ("r2", "R²"), ("mae", "MAE")):
            pair = Pair(
                getattr(self.metrics_before, name, None), getattr(self.metrics_after, name, None)
            )
            if pair.before is not None or pair.after is not None:
                return title, pair
        return "Accuracy", Pair(None, None)


def compare(run: Run) -> Comparison:
    """Set the baseline of a run against what came out of it."""
    baseline = next((stage for stage in run.stages if stage.name == "baseline"), None)
    later = [stage for stage in reversed(run.stages) if stage is not baseline]

    def pair(name: str) -> Pair:
        after = (getattr(stage, name) for stage in later)
        return Pair(
            getattr(baseline, name, None),
            next((value for value in after if value is not None), None),
        )

    timed = next((stage.latencies for stage in later if stage.latencies), ())
    taken = {latency.setting: latency for latency in timed}
    return Comparison(
        baseline=baseline,
        outcome=later[0] if later else None,
        metrics_before=baseline.metrics if baseline else None,
        metrics_after=next((stage.metrics for stage in later if stage.metrics), None),
        parameters=pair("parameters"),
        macs=pair("macs"),
        bytes=pair("bytes"),
        latencies=tuple(
            (latency, taken[latency.setting])
            for latency in (baseline.latencies if baseline else ())
            if latency.setting in taken
        ),
    )


def headline(run: Run) -> str:
    """Say in one sentence what the run gained and what it cost.

    Example: "2.9× faster, 4.1× smaller, accuracy 0.3 points lower."
    """
    seen = compare(run)
    if seen.baseline is None or seen.outcome is None:
        return _alone(seen)
    cheaper = [text for text in (_speed(seen), _smaller(seen)) if text]
    if not seen.latencies and (fewer := _fewer_macs(seen)):
        cheaper.append(fewer)
    parts = [*cheaper, _quality(seen) or "accuracy not measured"]
    missing = "" if seen.latencies else "; speed not measured"
    sentence = ", ".join(parts) + missing + "."
    return sentence[:1].upper() + sentence[1:]


def lead(run: Run) -> str:
    """Back the headline with the figures themselves, in one or two plain sentences."""
    seen = compare(run)
    said = []
    if seen.latencies:
        before, after = seen.latencies[-1]
        what = "one sample" if after.batch == 1 else f"a batch of {units.whole(after.batch)}"
        said.append(
            f"The model that came out takes {units.ms(after.median_ms)} for {what}; "
            f"the baseline takes {units.ms(before.median_ms)} ({conditions(after)})."
        )
    title, pair = seen.quality
    if pair.before is not None and pair.after is not None:
        show = units.percent if title == "Accuracy" else units.figure
        rows = seen.metrics_after.rows if seen.metrics_after else None
        on = f" on {units.plural(rows, 'test row')}" if rows else ""
        if title == "Accuracy":
            all_rows = units.plural(rows, "test row") if rows else "the test rows"
            said.append(
                f"It gets {show(pair.after)} of {all_rows} right; the baseline {show(pair.before)}."
            )
        else:
            said.append(
                f"{title} is {show(pair.after)}{on}; the baseline's is {show(pair.before)}."
            )
    return " ".join(said)


def remarks(run: Run) -> tuple[str, ...]:
    """What a reader must know before believing the headline, found in the figures themselves."""
    seen = compare(run)
    found = []
    if not run.stages:
        found.append("No stage was measured: the run did not get as far as its baseline.")
    elif seen.baseline is None:
        found.append("No baseline was measured, so nothing says what was gained or lost.")
    elif seen.outcome is None:
        found.append("Only the baseline was measured: nothing was cut, or the run broke off.")
    ratios = [ratio for pair in seen.latencies if (ratio := _faster(pair)) is not None]
    fewer = seen.macs.ratio
    if fewer and fewer >= 1.1 and ratios and max(ratios) < _SAME_SPEED:
        share = units.percent(1 - 1 / fewer)
        found.append(f"The model does {share} less arithmetic, yet the measured time did not fall.")
    found += _exported_differently(run)
    found += losses(run)
    if not any("chance" in warning.lower() for warning in run.warnings):
        found += _near_chance(seen)
    return tuple(found)


def interval(share: float | None, rows: int | None) -> tuple[float, float] | None:
    """Return the 95 % Wilson interval of a share that was counted on so many rows."""
    if share is None or not rows:
        return None
    z = 1.959964
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    spread = math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    half = z / (1 + z * z / rows) * spread
    return max(0.0, middle - half), min(1.0, middle + half)


def conditions(latency: LatencyView) -> str:
    """Say under what conditions a latency was taken: "ONNX Runtime, 1 thread"."""
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "keras": "Keras"}
    runtime = names.get(latency.runtime, latency.runtime)
    return f"{runtime}, {units.plural(latency.threads, 'thread')}"


def times(ratio: float, better: str, worse: str, equal: str, same: float = _SAME_SIZE) -> str:
    """Put a ratio of before to after in words: (4.1, "smaller", ...) -> "4.1× smaller"."""
    more = max(ratio, 1 / ratio)
    if more < same:
        return equal
    word = better if ratio > 1 else worse
    # "1.0 times smaller" says nothing: small changes are told in per cent.
    return f"{units.percent(abs(1 / ratio - 1)) if more < 1.1 else units.ratio(more)} {word}"


def speed(ratio: float) -> str:
    """Put a ratio of times in words: timings of one file differ by a few per cent anyway."""
    return times(ratio, "faster", "slower", "as fast as before", _SAME_SPEED)


def _faster(pair: tuple[LatencyView, LatencyView]) -> float | None:
    return Pair(pair[0].median_ms, pair[1].median_ms).ratio


def _speed(seen: Comparison) -> str | None:
    ratios = [(ratio, pair[1]) for pair in seen.latencies if (ratio := _faster(pair)) is not None]
    if not ratios:
        return None
    low, high = min(ratio for ratio, _ in ratios), max(ratio for ratio, _ in ratios)
    for good, word, slow, fast in (
        (low, "faster", low, high),
        (1 / high, "slower", 1 / high, 1 / low),
    ):
        one, other = units.ratio(slow), units.ratio(fast)
        if good >= _SAME_SPEED and one != other:
            return f"{one.removesuffix('×')}–{other} {word}"
    words = [speed(ratio) for ratio, _ in ratios]
    if len(set(words)) == 1:
        return words[0]
    # Good at one batch size and bad at another: both are said, nothing is averaged.
    if len(words) > 3:
        return f"{units.ratio(low).removesuffix('×')}–{units.ratio(high)} the speed"
    return ", ".join(
        f"{text} at batch {units.whole(latency.batch)}"
        for text, (_, latency) in zip(words, ratios, strict=True)
    )


def _smaller(seen: Comparison) -> str | None:
    ratio = seen.bytes.ratio or seen.parameters.ratio
    return times(ratio, "smaller", "larger", "the same size") if ratio else None


def _fewer_macs(seen: Comparison) -> str | None:
    ratio = seen.macs.ratio
    return times(ratio, "fewer MACs", "more MACs", "the same MACs") if ratio else None


def _quality(seen: Comparison) -> str | None:
    title, pair = seen.quality
    change = pair.change
    if change is None:
        return None
    name = title if title != "Accuracy" else "accuracy"
    if title == "Accuracy":
        if abs(change) < 0.0005:
            return f"{name} unchanged"
        amount = f"{abs(change) * 100:.1f}"
        amount = f"{amount} {'point' if amount == '1.0' else 'points'}"
    else:
        if abs(change) < 0.0005 * max(1.0, abs(pair.before or 0)):
            return f"{name} unchanged"
        amount = units.change(abs(change)).removeprefix("+")
    return f"{name} {amount} {'higher' if change > 0 else 'lower'}"


def _alone(seen: Comparison) -> str:
    only = seen.outcome or seen.baseline
    title, pair = seen.quality
    value = pair.after if pair.after is not None else pair.before
    if only is None or value is None:
        return "Nothing was measured."
    show = units.percent if title == "Accuracy" else units.figure
    return f"{title} {show(value)}, with nothing to compare it with."


def _exported_differently(run: Run) -> list[str]:
    if len(run.stages) < 2 or run.stages[-1].name != "exported":
        return []
    source, exported = run.stages[-2].metrics, run.stages[-1].metrics
    if source is None or exported is None or source.rows != exported.rows:
        return []
    if source.accuracy is None or exported.accuracy is None:
        return []
    change = exported.accuracy - source.accuracy
    if abs(change) < 0.001:
        return []
    return [
        f"The exported file scores {units.points(change)} points against the model it was made "
        f"from ({units.percent(exported.accuracy)} instead of {units.percent(source.accuracy)})."
    ]


def _near_chance(seen: Comparison) -> list[str]:
    found = []
    for what, metrics in (("baseline", seen.metrics_before), ("result", seen.metrics_after)):
        if metrics is None or metrics.accuracy is None or metrics.chance is None:
            continue
        if metrics.accuracy < metrics.chance + 0.02:
            found.append(
                f"The {what} is near chance: {units.percent(metrics.accuracy)} accuracy, where "
                f"always naming the most common class gives {units.percent(metrics.chance)}."
            )
    return found
