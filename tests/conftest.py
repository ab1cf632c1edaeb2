"""What every test may use."""

import os
from pathlib import Path

import pytest

from store import bucket, own_server, s3

__all__ = ["bucket", "own_server", "s3", "shared_data"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


# Files that take longest.
_LONGEST = ("e2e/", "laws/", "unit/steps/", "unit/job/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left alone with one."""
    home = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(home).as_posix()
        return not path.startswith(_LONGEST)

    items.sort(key=place)


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
