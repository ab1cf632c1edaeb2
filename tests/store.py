"""An S3 server on this machine, for tests; skipped where moto is not installed."""

import os
import uuid

import pytest

# What a machine in a cloud would be asked for, and what the tests must not find.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Bucket:
    """A bucket, to put files into."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.uri = f"s3://{name}"

    def put(self, key, content):
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def put_folder(self, folder, prefix):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"{self.uri}/{prefix}"

    def keys(self):
        found = self.client.list_objects_v2(Bucket=self.name)
        return [one["Key"] for one in found.get("Contents", [])]


@pytest.fixture(scope="session")
def s3():
    """Start the server, and point the environment to it."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    changed = {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    yield boto3.client("s3")
    running.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def bucket(s3):
    """Make a bucket of its own for a test."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return Bucket(s3, name)


class Server:
    """A second server of the same buckets, which a test may stop and start."""

    def __init__(self):
        from moto.server import ThreadedMotoServer

        self._kind, self._running, self._port = ThreadedMotoServer, None, 0
        self.start()

    def start(self):
        self._running = self._kind(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._running.start()
        self._port = self._running.get_host_and_port()[1]

    def stop(self):
        if self._running is not None:
            self._running.stop()
            self._running = None

    @property
    def options(self):
        return f"?endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"


@pytest.fixture
def own_server(s3):
    """Start a server that the test may stop."""
    server = Server()
    yield server
    server.stop()
