"""Scoring on a real Ray cluster: two nodes on this machine, of which workers and nodes die."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.killing import (
    BLOCK_ROWS,
    DRIVER,
    WAIT_SECONDS,
    entries,
    finish,
    kill_worker,
    same_bytes,
    start,
    wait_for,
    write_job,
)
from secateur.formats.archive import pack
from secateur.formats.artifact import Artifact
from secateur.scoring.score import score

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster():
    from e2e.cluster import Cluster

    with Cluster(cores=1) as cluster:
        cluster.add(cores=1)
        yield cluster


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return write_job(tmp_path_factory.mktemp("job"))


@pytest.fixture
def there(cluster):
    return {"environment": cluster.environment, "engine": "ray", "address": cluster.address}


# What a test does to a job from inside its driver, once so many parts are done.
INSIDE = """
import json, sys
from pathlib import Path
from secateur.errors import SecateurError
from secateur.scoring import on_ray
from secateur.scoring.score import score
artifact, source, out, options = sys.argv[1:]
options = json.loads(options)
def progress(rows, parts, total):
    if parts >= 4:
        WHAT
try:
    tally = score(artifact, source, out, progress=progress, **options)
    print(tally.model_dump_json())
except SecateurError as error:
    print(type(error).__name__, "|", error.where, "|", error.what)
"""


def inside(job, out, what, cluster, before="", **options):
    """Run a job that does `what` after four parts, and return all that it printed."""
    code = f"{before}\n" + INSIDE.replace("WHAT", what)
    options |= {"engine": "ray", "address": cluster.address, "batch_rows": BLOCK_ROWS}
    arguments = [str(job.artifact), str(job.data), str(out), json.dumps(options)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | cluster.environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_scores_are_those_of_the_local_engine_byte_for_byte(job, tmp_path, there, cluster):
    process = start(job, tmp_path / "out", **there)
    seen = set()
    while process.poll() is None:
        seen |= {i for i, node in enumerate(cluster.nodes) if node.workers()}
        time.sleep(0.05)
    tally = finish(process)
    assert seen == {0, 1}, "a node had no work"
    assert (tally["parts"], tally["rows"]) == (40, 8000)
    assert same_bytes(tmp_path / "out", job.whole)
    order = [entry["number"] for entry in entries(tmp_path / "out")]
    assert sorted(order) == list(range(40))
    # One file on one thread, on several threads that help each other, and by one task.
    score(job.artifact, job.data, tmp_path / "threads", batch_rows=BLOCK_ROWS, threads=3)
    assert same_bytes(tmp_path / "threads", job.whole)
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_death_of_a_worker(job, tmp_path, there, cluster):
    trial = kill_worker(job, tmp_path / "out", 1, cluster.nodes, **there)
    assert trial.good, trial


def test_death_of_a_node(tmp_path, there, cluster):
    # Long enough for a node to die before it is done.
    job = write_job(tmp_path / "job", rows=1_000)
    node = cluster.add(cores=1)
    process = start(job, tmp_path / "out", **there)
    wait_for(tmp_path / "out", 3, process)
    node.kill()
    done = len(entries(tmp_path / "out"))
    assert done < 40
    assert finish(process)["parts"] == 40
    assert same_bytes(tmp_path / "out", job.whole)
    assert len(entries(tmp_path / "out")) == 40


def test_interrupt_leaves_a_job_that_the_local_engine_can_end(tmp_path, there):
    # Long enough to be interrupted.
    job = write_job(tmp_path / "job", rows=1_000)
    out = tmp_path / "out"
    process = start(job, out, **there)
    wait_for(out, 5, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode != 0
    assert stderr.splitlines()[-1].startswith("KeyboardInterrupt")
    before = len(entries(out))
    tally = score(job.artifact, job.data, out, batch_rows=BLOCK_ROWS)
    assert tally.resumed == before >= 5
    assert same_bytes(out, job.whole)
    assert not list(out.rglob("*.partial"))


def test_node_that_sees_other_data_is_one_clear_error(job, tmp_path, cluster):
    before = """
from secateur.scoring import on_ray
work = on_ray._work
def other(number, piece):
    seen = work(number, piece)
    return seen._replace(stamp="other") if number == 20 else seen
on_ray._work = other
"""
    kind, where, said = inside(job, tmp_path / "out", "pass", cluster, before).split(" | ")
    assert (kind, where) == ("DataError", str(job.data / "data-020.parquet"))
    assert "does not see the data as it was found" in said
    done = entries(tmp_path / "out")
    assert 0 < len(done) < 40
    assert "data-020.parquet" not in {entry["source"] for entry in done}


def test_output_that_goes_away_is_one_clear_error(job, tmp_path, cluster):
    out = tmp_path / "out"
    what = f"[path.rename(path.with_name('gone')) for path in Path({str(out)!r}).glob('*.partial')]"
    kind, where, said = inside(job, out, what, cluster).split(" | ")
    assert kind == "OutputError"
    # Before a part, or in the middle of one, which names the file that it was to become.
    assert where == str(out) or Path(where).parent in (out, out / "quarantine")
    assert "does not see the output folder" in said or "cannot be written" in said


def test_artifact_reaches_workers_that_do_not_see_its_folder(job, tmp_path, cluster):
    # The driver tells the workers of a folder that is not there.
    before = """
import dataclasses
from secateur.scoring import on_ray
setup_of = on_ray.setup_of
on_ray.setup_of = lambda *a: dataclasses.replace(setup_of(*a), artifact="/nowhere")
"""
    said = inside(job, tmp_path / "out", "pass", cluster, before)
    assert json.loads(said)["parts"] == 40
    assert same_bytes(tmp_path / "out", job.whole)


def test_packages_of_other_versions_are_refused(job, tmp_path, cluster):
    before = """
from secateur.scoring import worker
versions = worker.versions
worker.versions = lambda runtime: versions(runtime) | {"pyarrow": "0.1"}
"""
    kind, _, said = inside(job, tmp_path / "out", "pass", cluster, before).split(" | ")
    assert kind == "SecateurError"
    assert "and the job was started with 0.1" in said


def test_node_without_secateur_is_one_clear_error(job, tmp_path, cluster):
    # A function of a module that no worker has.
    before = """
import sys, types
from secateur.scoring import on_ray
module = sys.modules["absent"] = types.ModuleType("absent")
exec("def do_part(setup, staging, work): pass", module.__dict__)
on_ray.do_part = module.do_part
"""
    kind, _, said = inside(job, tmp_path / "out", "pass", cluster, before).split(" | ")
    assert kind == "SecateurError"
    assert "cannot run secateur" in said
    assert "No module named 'absent'" in said


def test_part_that_kills_its_worker_each_time_ends_the_job(job, tmp_path, cluster):
    before = """
from secateur.scoring import on_ray
def deadly(setup, staging, work):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
on_ray.do_part, on_ray._RETRIES, on_ray._SUBMISSIONS = deadly, 0, 2
"""
    kind, where, said = inside(job, tmp_path / "out", "pass", cluster, before).split(" | ")
    assert kind == "SecateurError"
    assert where.startswith(str(job.data))
    assert said == "the worker that did this part died each time (WorkerCrashedError, 2 times)."


def test_memory_that_no_node_has_is_one_clear_error(job, tmp_path, cluster):
    before = "from secateur.scoring import on_ray; on_ray._PATIENCE_SECONDS = 2.0"
    # Ray counts in ten-thousandths of a byte, in 64 bits.
    said = inside(job, tmp_path / "out", "pass", cluster, before, memory=2**45)
    assert "no node of the cluster has a core and 33,554,432 MiB for a part" in said


def test_command_line(job, tmp_path, cluster):
    command = [str(Path(sys.executable).with_name("secateur")), "score"]
    command += [str(job.artifact), str(job.data), str(tmp_path / "out"), "--json"]
    command += ["--engine", "ray", "--address", cluster.address, "--batch-rows", str(BLOCK_ROWS)]
    done = subprocess.run(
        command, env=os.environ | cluster.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parts"] == 40
    assert same_bytes(tmp_path / "out", job.whole)


def test_no_cluster_at_the_address(job, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(job.artifact), str(job.data)]
    options = {"engine": "ray", "address": "127.0.0.1:9"}
    done = subprocess.run(
        [*command, str(tmp_path / "out"), json.dumps(options)], capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "no Ray cluster lets this process in at '127.0.0.1:9'" in last


def test_a_packed_artifact_goes_to_the_workers(job, tmp_path, cluster):
    packed = pack(Artifact.open(job.artifact).files, tmp_path / "model.secateur")
    said = inside(replace(job, artifact=packed), tmp_path / "out", "pass", cluster)
    assert json.loads(said)["parts"] == 40
    assert same_bytes(tmp_path / "out", job.whole)
