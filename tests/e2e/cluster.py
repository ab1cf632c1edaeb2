"""A Ray cluster of this machine alone, whose nodes and workers can be killed one by one."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

WAIT_SECONDS = 120
# A dead node is noticed within seconds, and a slow machine is not taken for a dead one.
_SETTINGS = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}


class Node:
    """`ray start` with all that it started."""

    def __init__(self, *arguments, cores, environment, log):
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--block"]
        command += [f"--num-cpus={cores}", "--object-store-memory=100000000"]
        command += ["--node-ip-address=127.0.0.1"]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def workers(self, state="do_part"):
        """Return the workers that do a part now, or are in another state."""
        found = []
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                if f"ray::{state}" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill(self):
        """Kill all processes of the node at once, as a power cut does."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=WAIT_SECONDS)

    def _family(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            this = psutil.Process(self.process.pid)
            return [*this.children(recursive=True), this]
        return []


class Cluster:
    """A head node, and nodes that are added; use it as a context manager."""

    def __init__(self, cores=1):
        # The path of a socket has an end, and the folders of tests are deep.
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        # What a process must have in its environment to be let in.
        self.environment = _SETTINGS | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        head = (
            "--head",
            f"--port={port}",
            f"--temp-dir={self._folder}",
            "--include-dashboard=false",
        )
        self.nodes = []
        self.head = self._start(*head, cores=cores)

    def add(self, cores=1):
        return self._start(f"--address={self.address}", cores=cores)

    def _start(self, *arguments, cores):
        log = Path(self._folder, f"node-{len(self.nodes)}.log")
        node = Node(*arguments, cores=cores, environment=self.environment, log=log)
        self.nodes.append(node)
        deadline = time.monotonic() + WAIT_SECONDS
        while "Ray runtime started" not in (said := log.read_text()):
            if node.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"a Ray node did not start: {said}")
            time.sleep(0.1)
        return node

    def stop(self):
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
