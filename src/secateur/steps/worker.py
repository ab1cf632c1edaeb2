"""What one worker of a distributed training does: it joins the others and trains its replica."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from secateur.errors import OutputError
from secateur.graph.weights import own_objects
from secateur.models.load import load_model
from secateur.models.save import save_model
from secateur.steps.replicas import JaxReplica, Replica, TorchReplica
from secateur.steps.teaching import Teaching
from secateur.steps.training import fit

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset


@dataclass(frozen=True)
class Sent:
    """A model on its way to another process: its `.keras` file, and the user's classes in it."""

    file: bytes = field(repr=False)
    own: Mapping[str, Any]

    @classmethod
    def of(cls, model: keras.Model) -> Sent:
        """Pack a model."""
        with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
            path = save_model(model, Path(folder) / "model.keras")
            return cls(path.read_bytes(), own_objects(model))

    def unpack(self) -> keras.Model:
        """Return the model.

        Raises:
            ModelError: it holds what Keras does not load in safe mode.
        """
        with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(self.file)
            return load_model(path, custom_objects=self.own)


@dataclass(frozen=True)
class Job:
    """A training that workers do together.

    Args:
        model: what they start from.
        data: what they learn from.
        checkpoint: a folder that all of them see; the first one keeps the state there.
        settings: the arguments of `fit`.
        teacher: a model to learn from as well.
        manner: how they learn from it.
    """

    model: Sent
    data: Dataset
    checkpoint: Path
    settings: Mapping[str, Any]
    teacher: Sent | None = None
    manner: Mapping[str, Any] = field(default_factory=dict)


def work(config: Mapping[str, Any]) -> None:
    """Train as one worker of Ray Train.

    Args:
        config: "job", a reference to the job, and "resume", whether to go on from its state.
    """
    import ray
    from ray import train

    job: Job = ray.get(config["job"])
    context = train.get_context()
    replica = _join(context.get_world_rank(), context.get_world_size())
    if not job.checkpoint.is_dir():
        raise OutputError(
            "the folder is not there on a machine that a worker runs on.",
            where=job.checkpoint,
            mend="Give a checkpoint folder on a file system that all machines share.",
        )
    # Outside of the scope, as what is asked and not trained is no part of what is distributed.
    teaching = job.teacher and Teaching(job.teacher.unpack(), **job.manner)
    with replica.scope():
        fit(
            job.model.unpack(),
            job.data,
            checkpoint=job.checkpoint,
            resume=config["resume"],
            teaching=teaching,
            replica=replica,
            **job.settings,
        )


def _join(rank: int, workers: int) -> Replica:
    """Meet the other workers, and return which one this is."""
    if keras.backend.backend() == "torch":
        # Ray has made the group of processes.
        return TorchReplica(rank, workers)
    from ray.train.collective import broadcast_from_rank_zero
    from ray.util import get_node_ip_address

    address = f"{get_node_ip_address()}:{_free_port()}" if rank == 0 else None
    address = broadcast_from_rank_zero(address)
    # Without this call every process of JAX would train a model of its own.
    keras.distribution.initialize(address, workers, rank)
    return JaxReplica(rank, workers)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]
