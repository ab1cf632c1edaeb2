"""The Ray engine: parts as tasks on the nodes of a cluster; this process alone keeps the ledger.

Every task writes into a folder of its own, below one that belongs to this run. When a task is done,
this process renames its files into place and writes the ledger's line. A task that runs twice, or
goes on after its node was given up, therefore changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from secateur.data.databases import resolved
from secateur.errors import MissingExtraError, SecateurError
from secateur.files import PARTIAL, sync
from secateur.formats.artifact import MODEL, Artifact
from secateur.formats.quiet import quiet
from secateur.scoring.ledger import Entry, part_path, quarantine_path
from secateur.scoring.pieces import Piece
from secateur.scoring.scorer import Scorer
from secateur.scoring.sink import cannot_write
from secateur.scoring.worker import Done, Work, do_part, files_of_artifact, setup_of

_TICK_SECONDS = 0.2
# Ray starts a task again on the death of its worker or node, this many times; a task that Ray has
# given up is then submitted anew.
_RETRIES = 3
_SUBMISSIONS = 3
# A cluster that grows by itself takes minutes to bring a first node.
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 2.0
# A worker with its packages loaded, a block in its several forms, and the model beside them.
_BASE_BYTES = 384 * 2**20
_MODEL_TIMES = 3
_CONNECT_SECONDS = 10.0
_SETTINGS = {
    # A Ray that is started here sends nothing to its makers.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A cluster that does not answer is given up after seconds.
    "RAY_gcs_server_port_wait_time_s": "5",
}


def run_ray(
    scorer: Scorer,
    out: Path,
    todo: Sequence[tuple[int, Piece]],
    *,
    address: str | None,
    threads: int | None,
    memory: int | None,
    done: Callable[[Entry], None],
    tick: Callable[[int], None],
) -> None:
    """Score all pieces on a Ray cluster, one core a piece.

    Args:
        scorer: the model.
        out: the output folder, which all nodes must see under the same path.
        todo: the pieces, each with its part's number.
        address: the cluster, as `host:port`, or "auto" for the one that this machine belongs to;
            where None, the one that `RAY_ADDRESS` names, else one that is started on this machine
            for this job. A connection that this process has already is used as it is.
        threads: how many parts may be done at a time; where None, as many as there are cores.
        memory: the bytes to reserve for a part; where None, an estimate, but never so much that a
            core of the cluster is left without work.
        done: called with each part that is done; what it raises ends the job.
        tick: called now and then with the number of rows of the parts that are done.

    Raises:
        MissingExtraError: Ray is not installed.
        OutputError: the files cannot be written, or a node does not see the output folder. Parts
            that are done stay done.
        DataError: a node does not see the data.
        SecateurError: there is no cluster, or a part cannot be done on it.
    """
    ray = _import_ray()
    if not todo:
        return
    with (
        _connected(ray, address, threads, scorer.predictor.artifact) as own,
        _staging(out.resolve()) as staging,
    ):
        tasks = _Tasks(ray, scorer, staging, memory)
        # A Ray that was started for this job has no more cores than `threads`.
        room = _Room(ray, None if own else threads, tasks.memory)
        pieces, rows = iter(todo), 0
        try:
            while True:
                while len(tasks) < room.now() and (following := next(pieces, None)) is not None:
                    tasks.submit(_work(*following))
                if not len(tasks):
                    break
                for finished in sorted(tasks.wait(), key=lambda part: part.entry.number):
                    _adopt(staging / finished.folder, out, finished.entry)
                    done(finished.entry)
                    rows += finished.entry.rows
                    room.moved()
                tick(rows)
                room.check()
        finally:
            tasks.cancel()


class _Tasks:
    """The tasks that are under way."""

    def __init__(self, ray: Any, scorer: Scorer, staging: Path, memory: int | None):
        self.memory = memory or _estimate(ray, scorer)
        self._ray = ray
        self._staging = str(staging)
        files = ray.put(files_of_artifact(scorer.predictor.artifact))
        self._setup = ray.put(setup_of(scorer, files))
        self._function = ray.remote(num_cpus=1, memory=self.memory, max_retries=_RETRIES)(do_part)
        self._waiting: dict[Any, Work] = {}
        self._submissions: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, work: Work) -> None:
        self._submissions[work.number] += 1
        task = self._function.remote([self._setup], self._staging, work)
        self._waiting[task] = work

    def wait(self) -> list[Done]:
        """Wait a moment, and return the parts that are done; those that were lost start anew."""
        waiting = list(self._waiting)
        ready, _ = self._ray.wait(waiting, timeout=_TICK_SECONDS)
        if ready:
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        found = []
        for task in ready:
            work = self._waiting.pop(task)
            outcome = self._result(task, work)
            if isinstance(outcome, SecateurError):
                raise outcome
            if outcome is None:
                self.submit(work)
            else:
                found.append(outcome)
        return found

    def cancel(self) -> None:
        """Stop the tasks that are under way; what they wrote does not count."""
        for task in self._waiting:
            # Where the cluster itself is gone, so are they.
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        self._waiting.clear()

    def _result(self, task: Any, work: Work) -> Done | SecateurError | None:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if (reason := _missing_module(str(error.cause))) is not None:
                return SecateurError(
                    f"a node of the cluster cannot run secateur ({reason}).",
                    mend="Install the same packages on all nodes.",
                )
            raise
        except errors.RayError as error:
            if self._submissions[work.number] < _SUBMISSIONS:
                return None
            return SecateurError(
                f"the worker that did this part died each time ({type(error).__name__}, "
                f"{_SUBMISSIONS * (1 + _RETRIES)} times).",
                where=work.piece.part.file,
                mend="Ray's logs on the node tell why; if it is memory, give more with `memory`.",
            )


class _Room:
    """How many tasks may be under way: enough that no core waits for its next one, and no more."""

    def __init__(self, ray: Any, threads: int | None, memory: int):
        self._ray = ray
        self._threads = threads
        self._memory = memory
        self._looked = -_LOOK_SECONDS
        self._cores = 1
        self._fits = time.monotonic()

    def now(self) -> int:
        """Return the number; nodes may come and go."""
        if (now := time.monotonic()) - self._looked >= _LOOK_SECONDS:
            self._looked = now
            nodes = _nodes(self._ray)
            self._cores = int(sum(node.get("CPU", 0) for node in nodes))
            if any(node.get("memory", 0) >= self._memory for node in nodes):
                self._fits = now
        return self._threads or 2 * max(1, self._cores)

    def moved(self) -> None:
        """Note that a part was done."""
        self._fits = time.monotonic()

    def check(self) -> None:
        """Raise where no node could take a part, and none has come for long."""
        if time.monotonic() - self._fits > _PATIENCE_SECONDS:
            raise SecateurError(
                f"no node of the cluster has a core and {self._memory / 2**20:,.0f} MiB for a "
                f"part, and none came in {_PATIENCE_SECONDS:,.0f} seconds.",
                mend="Add such a node, or ask for less with `memory`.",
            )


class _Muffled:
    """A stream that passes on all but what Ray's own threads print.

    They tell of each worker that died, on standard output, and no setting of a job stops them.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "the package ray is not installed.", mend="Run `pip install 'secateur[ray]'`."
        ) from error
    return ray


@contextlib.contextmanager
def _connected(
    ray: Any, address: str | None, threads: int | None, artifact: Artifact
) -> Iterator[bool]:
    """Be connected to a cluster within the block; yield whether it was started for it."""
    if ray.is_initialized():
        yield False
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise SecateurError(
            f"{address!r} is the address of a Ray client, which is not part of the cluster.",
            mend="Start the job on a node of the cluster, for instance with `ray job submit`.",
        )
    _check_answers(address)
    options: dict[str, Any] = {"address": address}
    if address == "local":
        # Nothing but the artifact goes through the store of objects.
        store = 128 * 2**20 + 2 * artifact.bytes
        options |= {
            "num_cpus": threads,
            "include_dashboard": False,
            "object_store_memory": store,
        }
    with _terminable():
        try:
            with quiet(), _environment(_SETTINGS):
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise _no_cluster(address, error) from error
        with contextlib.redirect_stdout(_Muffled(sys.stdout)):  # type: ignore[type-var]
            try:
                yield address == "local"
            finally:
                # It prints what its threads have kept back.
                with quiet():
                    ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise where nothing listens at `host:port`, which Ray itself finds out after minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: BaseException) -> SecateurError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return SecateurError(
        f"no Ray cluster lets this process in at {address!r} ({reason}).",
        mend="Start one with `ray start --head`, and give this process the cluster's token where "
        "it has one (RAY_AUTH_TOKEN); without an address, this machine is used.",
    )


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set variables within the block, where they are not set already."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Leave the block with the handler of SIGTERM that was there: Ray sets one of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _missing_module(said: str) -> str | None:
    """Return what a worker said of a module that it does not have."""
    lines = (line.strip() for line in said.splitlines())
    signs = ("No module named", "cannot import name")
    return next((line for line in lines if any(sign in line for sign in signs)), None)


@contextlib.contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Make a folder for this run; a name that ends like this is removed when a ledger is opened."""
    folder = out / f"{uuid.uuid4().hex}{PARTIAL}"
    try:
        folder.mkdir()
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _work(number: int, piece: Piece) -> Work:
    """Return a piece as a task gets it; a worker's current folder is not this process's."""
    root = Path(piece.part.root)
    if local := root.is_dir():
        piece = replace(piece, part=replace(piece.part, root=str(root.resolve())))
    if (one := piece.part.range) is not None:
        one = replace(one, query=resolved(one.query))
        piece = replace(piece, part=replace(piece.part, range=one))
    return Work(number, piece, piece.stamp, local)


def _adopt(folder: Path, out: Path, entry: Entry) -> None:
    """Rename the files of a part that is done into their places."""
    sizes = {part_path: entry.bytes, quarantine_path: entry.quarantine_bytes}
    for path_of, size in sizes.items():
        if not size:
            continue
        path = path_of(out, entry.number)
        try:
            path.parent.mkdir(exist_ok=True)
            os.replace(path_of(folder, entry.number), path)
            sync(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
    shutil.rmtree(folder, ignore_errors=True)


def _estimate(ray: Any, scorer: Scorer) -> int:
    """Return the memory of a part, but not so much that a node cannot use all its cores."""
    wanted = _BASE_BYTES + _MODEL_TIMES * scorer.predictor.artifact.entry(MODEL).bytes
    shares = [int(node.get("memory", 0) / node["CPU"]) for node in _nodes(ray)]
    return max(1, min([wanted, *shares]))


def _nodes(ray: Any) -> list[dict[str, float]]:
    """Return the resources of all nodes that are alive and have a core."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [resources for resources in nodes if resources.get("CPU", 0) >= 1]
