"""What a model costs, as values: each latency with the runtime, batch and threads of its runs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Latency(BaseModel):
    """The measured time of one call.

    Args:
        runtime: what ran it, for example `onnxruntime`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        median_ms: the median over all runs, in milliseconds.
        p95_ms: the 95th percentile over all runs, in milliseconds.
        runs: how many calls were timed.
        quiet_ms: the 25th percentile over all runs: what a call takes that nothing else on the
            machine holds up. Of two models that are timed in turn while others work on the same
            cores, the slower one is held up in more of its calls, and these tell their ratio.
    """

    model_config = ConfigDict(frozen=True)

    runtime: str
    batch: int
    threads: int
    median_ms: float
    p95_ms: float
    runs: int
    quiet_ms: float | None = None


class Cost(BaseModel):
    """What a model costs.

    Args:
        parameters: the number of its weights' elements.
        macs: the multiply-adds of one sample, of operations that multiply by weights.
        bytes: the size of its weights as they are stored in memory.
        latencies: measured times, if any were taken.
    """

    model_config = ConfigDict(frozen=True)

    parameters: int
    macs: int
    bytes: int
    latencies: tuple[Latency, ...] = ()
