"""A training that is broken off within an epoch, and goes on, ends with the same weights."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import layers

from secateur.data.read import read
from secateur.errors import DataError
from secateur.steps.training import fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    random = np.random.default_rng(0)
    for place in range(2):
        x = random.normal(size=(300, 4)).astype("float32")
        names = {f"x{i}": x[:, i] for i in range(4)}
        table = pa.table({**names, "y": np.where(x.sum(axis=1) > 0, "high", "low")})
        pq.write_table(table, folder / f"{place}.parquet", row_group_size=50)
    return folder


def data(folder, stream=True):
    return read(folder, target="y", stream=stream, cache_bytes=4 * 100 * 20 if stream else 10**6)


def model():
    x = inputs = keras.Input((4,))
    x = layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(seed=1))(x)
    x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    start = keras.initializers.HeNormal(seed=2)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", kernel_initializer=start)(x))


HOW = {"epochs": 3, "learning_rate": 0.02, "batch_size": 64, "checkpoint_seconds": 0.0}


def assert_same(one, two):
    for left, right in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


class Break(keras.callbacks.Callback):
    """Break off at a batch of an epoch, in a way that is given."""

    def __init__(self, epoch, batch, way):
        super().__init__()
        self.at, self.way, self.epoch = (epoch, batch), way, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.way()


def counted():
    steps = []
    return steps, keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(batch)
    )


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="with PyTorch the state is that after an epoch"
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "broken_at", [(1, 2), *(pytest.param(at, marks=pytest.mark.long) for at in ((0, 0), (2, 4)))]
)
def test_broken_off_within_an_epoch(folder, stream, broken_at, tmp_path):
    rows = data(folder, stream)
    whole, straight = fit(model(), rows, **HOW)
    with pytest.raises(KeyboardInterrupt):
        fit(model(), rows, **HOW, checkpoint=tmp_path, callbacks=[Break(*broken_at, interrupt)])
    steps, seen = counted()
    resumed, curve = fit(
        model(), data(folder, stream), **HOW, checkpoint=tmp_path, resume=True, callbacks=[seen]
    )
    assert_same(whole, resumed)
    assert curve.metrics == straight.metrics
    # What was done is not done again: six batches an epoch.
    assert len(steps) == 18 - (6 * broken_at[0] + broken_at[1] + 1)


def test_without_time_gone_by_the_state_is_that_of_the_epoch(folder, tmp_path):
    how = {**HOW, "checkpoint_seconds": 3600}
    with pytest.raises(KeyboardInterrupt):
        fit(model(), data(folder), **how, checkpoint=tmp_path, callbacks=[Break(1, 2, interrupt)])
    steps, seen = counted()
    fit(model(), data(folder), **how, checkpoint=tmp_path, resume=True, callbacks=[seen])
    assert len(steps) == 12


def test_killed_and_gone_on_with_in_another_process(folder, tmp_path):
    program = textwrap.dedent(
        """
        import os, sys
        sys.path.insert(0, os.path.dirname(sys.argv[1]))
        import importlib.util, pathlib, signal
        spec = importlib.util.spec_from_file_location("resume", sys.argv[1])
        here = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(here)
        kill = here.Break(1, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
        rows = here.data(pathlib.Path(sys.argv[2]))
        here.fit(here.model(), rows, **here.HOW, checkpoint=sys.argv[3], callbacks=[kill])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, __file__, str(folder), str(tmp_path)],
        env=os.environ,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    resumed, _ = fit(model(), data(folder), **HOW, checkpoint=tmp_path, resume=True)
    whole, _ = fit(model(), data(folder), **HOW)
    assert_same(whole, resumed)


def test_a_file_that_disappears_is_told_and_the_state_is_kept(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(600, 4))
    for place in range(6):
        part = x[100 * place : 100 * place + 100]
        names = {f"x{i}": part[:, i] for i in range(4)}
        table = pa.table({**names, "y": np.where(part[:, 0] > 0, "high", "low")})
        pq.write_table(table, folder / f"{place}.parquet", row_group_size=50)
    rows = data(folder)
    whole, _ = fit(model(), rows, **HOW)
    aside = tmp_path / "aside"

    def remove():
        aside.mkdir(exist_ok=True)
        for file in folder.glob("*.parquet"):
            file.rename(aside / file.name)

    with pytest.raises(DataError, match=r"the file is gone.*The state (of|after) epoch") as caught:
        fit(model(), rows, **HOW, checkpoint=tmp_path / "kept", callbacks=[Break(1, 1, remove)])
    assert "Put it back, and go on with `resume`." in str(caught.value)
    for file in aside.iterdir():
        file.rename(folder / file.name)
    resumed, _ = fit(model(), data(folder), **HOW, checkpoint=tmp_path / "kept", resume=True)
    assert_same(whole, resumed)


def test_a_state_of_another_window_is_refused(folder, tmp_path):
    fit(model(), data(folder), **{**HOW, "epochs": 1}, checkpoint=tmp_path)
    other = read(folder, target="y", stream=True, cache_bytes=4 * 200 * 20)
    with pytest.raises(Exception, match="another training"):
        fit(model(), other, **{**HOW, "epochs": 1}, checkpoint=tmp_path, resume=True)
