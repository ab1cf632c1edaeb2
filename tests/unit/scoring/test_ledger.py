"""What is in the ledger is done and there; one process holds it; no other job touches it."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from secateur.errors import OutputError
from secateur.scoring.ledger import Entry, Job, Ledger, part_path, quarantine_path

JOB = Job(model="m" * 64, contract="c" * 64, source="/data", keys=("id",), probability=True)


def done(out, number, size=3):
    part_path(out, number).write_bytes(b"x" * size)
    return Entry(
        number=number,
        source=f"{number}.csv",
        first=0,
        stamp="s",
        rows=5,
        scored=5,
        quarantined=0,
        bytes=size,
    )


@pytest.fixture
def out(tmp_path):
    """Return a folder with two parts done."""
    folder = tmp_path / "out"
    with Ledger(folder, JOB) as ledger:
        for number in range(2):
            ledger.append(done(folder, number))
    return folder


def refused(folder, match, job=JOB, **options):
    with pytest.raises(OutputError, match=match) as caught:
        Ledger(folder, job, **options)
    return caught.value.where


def test_entries_survive(out):
    with Ledger(out, JOB) as ledger:
        assert [entry.number for entry in ledger.entries.values()] == [0, 1]
        assert ledger.entries["1.csv", 0].rows == 5


@pytest.mark.parametrize("field", ["model", "contract", "source"])
def test_other_job(out, field):
    other = JOB.model_copy(update={field: "z"})
    assert refused(out, f"another job: its {field} is", other) == str(out)


def test_a_folder_that_cannot_be(out, tmp_path):
    refused(tmp_path / ("x" * 300), "cannot be used: File name too long")
    refused(out / "ledger.jsonl" / "x", "cannot be written .Not a directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "cannot be written .File exists")


def test_other_columns(out):
    refused(out, r'its keys is \["id"\], and now it is \[\]', JOB.model_copy(update={"keys": ()}))
    refused(out, "its probability is true", JOB.model_copy(update={"probability": "all"}))


def test_no_resume(out):
    refused(out, "the folder holds a scoring job", resume=False)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert refused(tmp_path, r"holds no ledger\.jsonl") == str(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
    refused(tmp_path / "mine.txt", "there is a file of that name")


def test_line_cut_short_by_a_crash_is_forgotten(out):
    with (out / "ledger.jsonl").open("ab") as file:
        file.write(b'{"number": 2, "sour')
    with Ledger(out, JOB) as ledger:
        assert len(ledger.entries) == 2
        ledger.append(done(out, 2))
    with Ledger(out, JOB) as ledger:
        assert len(ledger.entries) == 3


@pytest.mark.parametrize(
    "content", [b"hello\n", b"\n", b'{"format": 2}\n', JOB.model_dump_json().encode() + b"\n{}\n"]
)
def test_ledger_of_something_else(tmp_path, content):
    (tmp_path / "ledger.jsonl").write_bytes(content)
    where = refused(tmp_path, r"line \d of the ledger is not one that secateur wrote")
    assert where == str(tmp_path / "ledger.jsonl")
    assert (tmp_path / "ledger.jsonl").read_bytes() == content


def test_part_whose_file_is_gone_is_not_done(out):
    part_path(out, 0).unlink()
    part_path(out, 1).write_bytes(b"short")
    with Ledger(out, JOB) as ledger:
        assert ledger.entries == {}


def test_files_that_no_part_owns_are_removed(out):
    quarantine_path(out, 0).parent.mkdir()
    strays = [part_path(out, 7), quarantine_path(out, 7), out / "part-00008.parquet.partial"]
    for stray in strays:
        stray.write_bytes(b"x")
    with Ledger(out, JOB):
        assert not any(stray.exists() for stray in strays)
        assert part_path(out, 0).exists()


def test_second_job_is_refused(out):
    with Ledger(out, JOB):
        assert refused(out, "another process is scoring into this folder") == str(out)
    with Ledger(out, JOB) as ledger:
        assert len(ledger.entries) == 2


def test_lock_of_a_killed_process_is_free(out):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from secateur.scoring.ledger import Job, Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), Job.model_validate_json(sys.argv[2]))\n"
        "print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, str(out), JOB.model_dump_json()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        refused(out, "another process is scoring")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Ledger(out, JOB) as ledger:
        assert len(ledger.entries) == 2


def test_a_number_that_went_to_another_part(out):
    part_path(out, 0).unlink()
    with Ledger(out, JOB) as ledger:
        ledger.append(done(out, 0).model_copy(update={"source": "new.csv"}))
    # The file of number 0 is as large as the lost one was, and is not it.
    with Ledger(out, JOB) as ledger:
        assert sorted(source for source, _ in ledger.entries) == ["1.csv", "new.csv"]
        assert ledger.counts["rows"] == 10


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    refused(tmp_path / "new", "its file system has no locks")


def test_a_disk_that_is_full(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        with Ledger(tmp_path, JOB) as ledger:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
            ledger.append(done(tmp_path, 0).model_copy(update={"source": "x" * 500}))

    try:
        with pytest.raises(OutputError, match="cannot be written"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
