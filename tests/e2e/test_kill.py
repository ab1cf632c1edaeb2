"""Whatever is killed, and whenever: nothing is lost, nothing doubled, nothing done again."""

import pytest

from e2e.killing import BLOCK_ROWS, finish, kill_driver, kill_worker, start, write_job
from secateur.scoring.score import score


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return write_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from e2e.cluster import Cluster

    with Cluster(cores=2) as cluster:
        yield cluster


@pytest.mark.parametrize("seed", range(3))
def test_local_job(job, tmp_path, seed):
    out = tmp_path / "out"

    def resume():
        assert score(job.artifact, job.data, out, batch_rows=BLOCK_ROWS).parts == 40

    trial = kill_driver(job, out, seed, resume, engine="local", threads=2)
    assert trial.good, trial


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_driver_of_a_ray_job(job, tmp_path, cluster, seed):
    out, there = tmp_path / "out", {"engine": "ray", "address": cluster.address}

    def resume():
        finish(start(job, out, cluster.environment, **there))

    trial = kill_driver(job, out, seed, resume, cluster.environment, **there)
    assert trial.good, trial


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_worker_of_a_ray_job(job, tmp_path, cluster, seed):
    there = {"engine": "ray", "address": cluster.address}
    trial = kill_worker(job, tmp_path / "out", seed, cluster.nodes, cluster.environment, **there)
    assert trial.good, trial
