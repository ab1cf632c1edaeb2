"""What every test may use."""

import os
from pathlib import Path

import pytest

from store import bucket, own_server, s3

__all__ = ["bucket", "own_server", "s3", "shared_data"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@pytest.fixture(scope="session", autouse=True)
def kept_memory() -> None:
    """Let a test process train as fast as one of secateur's own."""
    from secateur.job.memory import keep_memory

    keep_memory()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data beside the checkout, or skip the test."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data is not beside the checkout ({folder.name}/ is absent)")
    return folder
