"""Whatever a file holds, reading it ends in a value or in an error that says what to do."""

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.errors import SecateurError

_BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
CHEAP = (
    "contract",
    "manifest",
    "plan",
    "quantization",
    "run record",
    "recipe",
    "ledger",
    "packed artifact",
    "CSV",
    "Parquet",
    "Arrow",
    "image",
    "ONNX",
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 80), st.binary(max_size=12)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def readers():
    sys.path.insert(0, _BENCHMARKS)
    try:
        import fuzz_readers
    finally:
        sys.path.remove(_BENCHMARKS)
    return fuzz_readers.READERS


@pytest.mark.parametrize("name", CHEAP)
def test_damaged_files_are_refused_in_words(name, readers, tmp_path):
    ending, prepare = readers[name]
    seeds, read = prepare(tmp_path)
    path = tmp_path / f"input{ending}"

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), EDITS)
    def check(content, edits):
        for place, length, put in edits:
            at = int(place * len(content))
            content = content[:at] + put + content[at + length :]
        path.write_bytes(content)
        with contextlib.suppress(SecateurError):
            read(path)

    for each in seeds:
        path.write_bytes(each)
        read(path)
    check()


def test_yaml_that_names_itself_again_and_again_ends(tmp_path):
    from secateur.recipe.recipe import Recipe

    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(SecateurError, match="more than 100,000 values"):
        Recipe.load(tmp_path / "laughs.yaml")
