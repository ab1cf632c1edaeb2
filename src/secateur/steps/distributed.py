"""Fine-tune with several workers under Ray Train, and begin again where one of them dies.

Ray starts the workers and tells when one is gone; the state that the training keeps after every
epoch is all that a new set of workers needs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from secateur.errors import MissingExtraError, ModelError, RecipeError, SecateurError
from secateur.graph.weights import copied
from secateur.machine import cores
from secateur.steps.bar import Bar
from secateur.steps.keeper import STATE, read_state
from secateur.steps.replicas import check_backend, divisible
from secateur.steps.training import Curve, default_batch_size

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.steps.teaching import Teaching

# How often a training is begun again without an epoch done in between.
RETRIES = 3
_RAY = ".ray"
# An empty XLA_FLAGS leaves each process of JAX the one device that a worker is to have.
_SETTINGS = {"XLA_FLAGS": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


def check_workers(steps: Iterable[Any]) -> None:
    """Raise where steps ask for several workers and these cannot train here, before all else.

    Raises:
        MissingExtraError: Ray Train is not installed.
        ModelError: the backend cannot do it.
    """
    if any(getattr(step, "workers", 1) > 1 for step in steps):
        check_backend()
        _ray()


def fit_distributed(
    model: keras.Model,
    data: Dataset,
    *,
    workers: int,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    batch_size: int | None = None,
    teaching: Teaching | None = None,
    verbose: bool = False,
    **settings: Any,
) -> tuple[keras.Model, Curve, int]:
    """Train a copy of a model with several workers, as `fit` does with one.

    They run on the cluster that this process is connected to or that RAY_ADDRESS names, else on
    this machine. Each has a core, all of the model, and an equal part of every batch.

    Args:
        model: where to start; it is untouched.
        data: gives the batches; files that it reads must be seen by all workers.
        workers: how many there are.
        checkpoint: a folder that keeps the state after every epoch. On several machines it is
            needed, on a file system that they share.
        resume: go on from the state in `checkpoint` if there is one.
        batch_size: rows a step, of all workers together.
        teaching: what the copy learns from beside the labels.
        verbose: say a line after every epoch.
        settings: the other arguments of `fit`.

    Returns:
        The trained model (not compiled), its curve, and how often it was begun again because a
        worker died.

    Raises:
        MissingExtraError: Ray Train is not installed.
        ModelError: the backend cannot do it, the loss is no longer a number, or workers die again
            and again.
        RecipeError: the workers cannot divide a batch, or the cluster has too few cores.
        OutputError: the checkpoint cannot be written or read.
    """
    backend = check_backend()
    ray = _ray()
    from secateur.steps.worker import Job, Sent

    batch = _batch(batch_size, data.train.rows, workers)
    start = time.perf_counter()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(checkpoint))
        state = folder / STATE
        if not resume:
            state.unlink(missing_ok=True)
        # What Ray writes of a run is of no use to the next one.
        stack.callback(shutil.rmtree, folder / _RAY, ignore_errors=True)
        sent = Sent.of(model)
        stack.enter_context(_cluster(ray, workers))
        job = Job(
            sent,
            data,
            folder,
            {**settings, "batch_size": batch},
            None if teaching is None else Sent.of(teaching.teacher),
            {} if teaching is None else teaching.manner,
        )
        if verbose:
            stack.enter_context(_told(state, settings.get("epochs", 30)))
        again = _train(ray.put(job), backend, workers, state, resume)
        told, arrays = read_state(state)
        # Made as the workers made theirs, so that weights are in the same order.
        trained = copied(sent.unpack())
        trained.set_weights([arrays[f"best{i}"] for i in range(len(trained.weights))])
    curve = Curve(
        {name: tuple(values) for name, values in told["history"].items()},
        told["best_epoch"],
        "val_loss" if data.validation.rows else "loss",
        time.perf_counter() - start,
    )
    return trained, curve, again


@contextmanager
def _folder(checkpoint: str | Path | None) -> Iterator[Path]:
    """Give the folder of the state; one that nobody asked for goes, unless an error names it."""
    if checkpoint is not None:
        folder = Path(checkpoint).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="secateur-"))
    named = False
    try:
        yield folder
    except SecateurError as error:
        named = str(folder) in str(error)
        raise
    finally:
        if not named:
            shutil.rmtree(folder, ignore_errors=True)


def _train(job: Any, backend: str, workers: int, state: Path, resume: bool) -> int:
    """Run the workers until they are done; return how often they were begun again."""
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    again, vain, done = 0, 0, _epochs(state)
    while True:
        try:
            _trainer(job, backend, workers, state.parent, resume or again > 0).fit()
            return again
        except (TrainingFailedError, RayError) as error:
            # Of the second kind is the death of what watches the workers.
            failures = getattr(error, "worker_failures", {0: error})
            for each in failures.values():
                if isinstance(each, SecateurError):
                    raise each from None
            again, before, done = again + 1, done, _epochs(state)
            vain = 0 if done > before else vain + 1
            if vain > RETRIES:
                raise ModelError(
                    f"the workers failed {vain} times in epoch {done + 1}: "
                    f"{_last_line(next(iter(failures.values())))}",
                    where="finetune",
                    mend="See whether each has memory enough; then run again with --resume.",
                ) from error


def _trainer(job: Any, backend: str, workers: int, folder: Path, resume: bool) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.config import LoggingConfig

    from secateur.steps.worker import work

    arguments: dict[str, Any] = {
        "train_loop_config": {"job": job, "resume": resume},
        "scaling_config": ScalingConfig(num_workers=workers),
        "run_config": RunConfig(
            name=_RAY,
            storage_path=str(folder),
            # What is worth another try is decided here, by what has been reached.
            failure_config=FailureConfig(max_failures=0),
            worker_runtime_env={"env_vars": {**_SETTINGS, "KERAS_BACKEND": backend}},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    }
    if backend == "torch":
        from ray.train.torch import TorchConfig, TorchTrainer

        return TorchTrainer(work, torch_config=TorchConfig(backend="gloo"), **arguments)
    from ray.train.v2.jax import JaxTrainer

    return JaxTrainer(work, **arguments)


@contextmanager
def _cluster(ray: Any, workers: int) -> Iterator[None]:
    """Connect to the cluster that there is, or start one on this machine and stop it after."""
    mine = not ray.is_initialized()
    if mine:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if "RAY_ADDRESS" not in os.environ:
            options |= {
                "address": "local",
                "num_cpus": max(workers, cores()),
                "include_dashboard": False,
            }
        with warnings.catch_warnings():
            # JAX warns of every process that is started, other programs too.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\)")
            ray.init(**options)
    try:
        found = ray.cluster_resources().get("CPU", 0)
        if found < workers:
            raise RecipeError(
                f"{workers} workers were asked for, and the cluster has {found:g} cores.",
                where="workers",
                mend="Ask for fewer, or give the cluster more nodes.",
            )
        yield
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def _told(state: Path, epochs: int) -> Iterator[None]:
    """Say a line after every epoch that the state tells of."""
    stop = threading.Event()
    bar = Bar()
    bar.set_params({"epochs": epochs})
    said = _epochs(state)

    def tell() -> None:
        nonlocal said
        while True:
            over = stop.wait(0.5)
            history = read_state(state)[0]["history"] if state.exists() else {}
            for epoch in range(said, len(history.get("loss", ()))):
                bar.on_epoch_begin(epoch)
                bar.on_epoch_end(epoch, {name: values[epoch] for name, values in history.items()})
                said = epoch + 1
            if over:
                return

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        stop.set()
        teller.join()


def _epochs(state: Path) -> int:
    return int(read_state(state)[0]["epochs"]) if state.exists() else 0


def _batch(asked: int | None, rows: int, workers: int) -> int:
    if asked is None:
        return divisible(default_batch_size(rows), workers)
    if asked % workers:
        raise RecipeError(
            f"{workers} workers cannot divide a batch of {asked} rows evenly.",
            where="batch_size",
            mend=f"Use {divisible(asked, workers)}.",
        )
    return asked


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].strip()


def _ray() -> Any:
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        import ray.train
    except ImportError:
        raise MissingExtraError(
            "workers are run by Ray Train, which is not installed.",
            where="workers",
            mend="Run `pip install 'secateur[distributed]'`, or leave workers out.",
        ) from None
    return ray
