import os

import pytest

from secateur import machine


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("max 100000", 64),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("6400000 100000", 64),
        ("nonsense", 64),
        ("100000 0", 64),
        (None, 64),
    ],
)
def test_a_container_has_the_cores_of_its_share(tmp_path, monkeypatch, said, most):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    if said is not None:
        (tmp_path / "cpu.max").write_text(f"{said}\n")
    assert machine.cores() == most


def test_a_process_that_is_bound_has_the_cores_it_is_bound_to(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("800000 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert machine.cores() == 2


def test_where_no_process_is_bound_all_count(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1
