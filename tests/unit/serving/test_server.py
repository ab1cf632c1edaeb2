"""The server of the page to try a model on: what it answers, and what it refuses."""

import http.client
import io
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    NumericColumn,
    Target,
)
from secateur.errors import ArtifactError, ContractError, DataError, OutputError
from secateur.formats.archive import pack
from secateur.formats.artifact import Artifact
from secateur.serving.fields import encoded, fields
from secateur.serving.rivals import Rivals
from secateur.serving.server import Server
from unit.scoring import artifacts
from unit.scoring.artifacts import expected, image_contract, table_contract, write_artifact


@contextmanager
def served(*arguments, **options):
    server = Server(*arguments, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(5)


def ask(url, action="", body=None, method=None, **headers):
    """Send one request; return the status and the body."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    line.request(
        method or ("GET" if body is None else "POST"), parts.path + action, body, headers=named
    )
    reply = line.getresponse()
    text = reply.read()
    line.close()
    return reply, text


def png(pixels):
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a run's folder: the artifact, and the baseline beside it."""
    home = tmp_path_factory.mktemp("run")
    write_artifact(home / "artifact", image_contract(), seed=0)
    write_artifact(home / "baseline", image_contract(), seed=1)
    return home


@pytest.fixture(scope="module")
def page(run):
    with served(run / "artifact") as server:
        yield server


def test_both_models_answer_a_picture_with_their_times(page):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    reply, text = ask(page.url, "image", png(pixels))
    assert reply.status == 200
    said = json.loads(text)
    assert said["seen"].startswith("data:image/png;base64,")
    full, pruned = said["answers"]
    assert (full["title"], pruned["title"]) == ("Full model", "Pruned model")
    for answer, seed in ((full, 1), (pruned, 0)):
        names, shares = expected(pixels[None], seed=seed)
        assert answer["best"][0]["label"] == names[0]
        assert answer["best"][0]["share"] == pytest.approx(shares[0].max(), abs=1e-5)
        assert answer["milliseconds"] > 0
        assert sum(one["share"] for one in answer["best"]) == pytest.approx(1, abs=1e-5)


def test_the_page_names_its_models_and_holds_no_link_elsewhere(page):
    reply, text = ask(page.url)
    assert reply.status == 200
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert reply.headers["Cache-Control"] == "no-store"
    assert b"Pruned model" in text
    assert b"http://" not in text.replace(b"http://www.w3.org", b"")
    assert b"https://" not in text


def test_what_is_no_picture_is_told_as_in_scoring(page):
    reply, text = ask(page.url, "image", b"no picture")
    assert reply.status == 422
    assert "not a JPEG, PNG" in json.loads(text)["error"]
    assert ask(page.url, "image", b"")[0].status == 422


def test_a_picture_of_too_many_pixels_or_bytes_is_refused(run, tmp_path):
    spec = image_contract().image.model_copy(update={"max_pixels": 100, "max_bytes": 2000})
    write_artifact(tmp_path / "small", image_contract().model_copy(update={"image": spec}))
    with served(tmp_path / "small") as server:
        reply, text = ask(server.url, "image", png(np.zeros((20, 20, 3), np.uint8)))
        assert (reply.status, "20 x 20 pixels" in json.loads(text)["error"]) == (422, True)
        reply, text = ask(server.url, "image", bytes(2001))
        assert reply.status == 413
        assert json.loads(text)["error"] == "the file has 2,001 bytes, more than the 2,000 allowed."


@pytest.mark.parametrize(
    ("action", "headers"),
    [
        ("", {"Host": "evil.example"}),
        ("", {"Host": "127.0.0.1"}),
        ("image", {"Origin": "http://evil.example"}),
        ("image", {"Origin": "null"}),
        ("image", {"Origin": "http://["}),
        ("row", {}),
        ("../image", {}),
        ("image/more", {}),
    ],
)
def test_a_request_from_elsewhere_finds_nothing(page, action, headers):
    body = None if action == "" else png(np.zeros((4, 4, 3), np.uint8))
    assert ask(page.url, action, body, **headers)[0].status == 404


def test_a_target_that_is_no_address_finds_nothing(page):
    parts = urlsplit(page.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
        line.sendall(f"GET http://[ HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        assert b" 404 " in line.recv(100)


def test_without_the_token_there_is_nothing(page, run):
    root = page.url.rsplit("/", 2)[0]
    for path in ("/", "/wrong/", "/wrong/image", "/" + "a" * 32 + "/"):
        assert ask(root, path)[0].status == 404
    with served(run / "artifact") as other:
        assert other.url.rsplit("/", 2)[1] != page.url.rsplit("/", 2)[1]


def test_a_length_that_is_missing_or_no_number_is_refused(page):
    parts = urlsplit(page.url)
    for said in (None, "-5", "many", "9" * 5000):
        header = "" if said is None else f"Content-Length: {said}\r\n"
        line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        line.connect()
        line.sock.sendall(
            f"POST {parts.path}image HTTP/1.1\r\nHost: {parts.netloc}\r\n{header}\r\n".encode()
        )
        assert b" 411 " in line.sock.recv(100)
        line.close()


def test_the_server_listens_to_this_machine_alone(page):
    assert urlsplit(page.url).hostname == "127.0.0.1"
    assert page._http.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_told(page, run):
    with pytest.raises(OutputError, match="cannot be listened on"):
        Server(run / "artifact", port=urlsplit(page.url).port)


def test_nothing_is_written(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(str(each) for each in run.rglob("*"))
    with served(run / "artifact") as server:
        ask(server.url, "image", png(np.zeros((9, 9, 3), np.uint8)))
    assert sorted(str(each) for each in run.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_one_artifact_stands_alone_and_another_may_stand_beside(run, tmp_path):
    alone = write_artifact(tmp_path / "alone", image_contract())
    assert [one.title for one in Rivals(alone.path).all] == ["linear"]
    both = Rivals(alone.path, run / "baseline").all
    assert [one.title for one in both] == [str(run / "baseline"), str(alone.path)]
    write_artifact(tmp_path / "table", table_contract())
    with pytest.raises(ArtifactError, match="other things"):
        Rivals(alone.path, tmp_path / "table")


def test_a_row_is_checked_and_answered(tmp_path):
    write_artifact(tmp_path / "table", table_contract(3))
    row = {"f0": "1", "f1": "0.5", "f2": "-2"}
    with served(tmp_path / "table") as server:
        assert b'name="f2"' in ask(server.url)[1]
        reply, text = ask(server.url, "row", json.dumps(row).encode())
        x = np.array([[1, 0.5, -2]], "float32")
        assert reply.status == 200
        assert json.loads(text)["answers"][0]["best"][0]["label"] == expected(x)[0][0]
        for wrong, says in (
            ({**row, "f1": ""}, "column f1: the value is missing"),
            ({**row, "f1": "many"}, "'many' is not a number"),
            ({**row, "f1": "99"}, "99 is out of range"),
            ({**row, "f1": 3}, "a short text"),
        ):
            reply, text = ask(server.url, "row", json.dumps(wrong).encode())
            assert reply.status == 422
            assert says in json.loads(text)["error"]
        assert ask(server.url, "row", b"[1]")[0].status == 422
        assert ask(server.url, "row", b"[" * 9999)[0].status == 422
        assert ask(server.url, "row", b" " * (2**20 + 1))[0].status == 413


def test_the_form_starts_with_a_row_that_is_good():
    contract = Contract(
        kind="table",
        columns=(
            NumericColumn(name="rooms", low=1, high=9, mean=3.4, std=1, integer=True),
            NumericColumn(name="size", low=10, high=99, mean=41.23456, std=9, nullable=True),
            CategoricalColumn(name="city", vocabulary=("Graz", "Linz")),
            BooleanColumn(name="new"),
            DatetimeColumn(name="built", low="1990-01-01T00:00:00", high="2020-05-01T12:30:00"),
        ),
        target=Target(name="price"),
    )
    made = fields(contract)
    assert [one.value for one in made] == ["3", "41.23", "Graz", "true", "2020-05-01T12:30"]
    assert [one.required for one in made] == [True, False, True, True, True]
    x = encoded(contract, {one.name: one.value for one in made})
    assert x["numeric"].shape[0] == 1
    assert x["categorical"].tolist() == [[1]]
    assert encoded(contract, {**{o.name: o.value for o in made}, "city": "Rome"})[
        "categorical"
    ].tolist() == [[0]]
    with pytest.raises(DataError, match="column built"):
        encoded(contract, {**{o.name: o.value for o in made}, "built": "soon"})


def test_a_value_may_be_empty_where_scoring_fills_it():
    columns = [
        NumericColumn(name="a", low=0, high=9, mean=4, std=1),
        CategoricalColumn(name="b", vocabulary=("Graz", "Linz")),
        BooleanColumn(name="c"),
        DatetimeColumn(name="d", low="1990-01-01T00:00:00", high="2020-05-01T12:30:00"),
    ]
    for column in columns:
        for nullable in (False, True):
            for gaps, required in (("fill", False), ("quarantine", True), (None, not nullable)):
                one = column.model_copy(update={"nullable": nullable, "gaps": gaps})
                contract = Contract(kind="table", columns=(one,), target=Target(name="y"))
                assert fields(contract)[0].required == required
                if required:
                    with pytest.raises(DataError, match="the value is missing"):
                        encoded(contract, {one.name: ""})
                else:
                    encoded(contract, {one.name: ""})


def test_sequences_have_no_page(tmp_path):
    contract = Contract(
        kind="sequence",
        columns=tuple(NumericColumn(name=f"s{i}", low=-1, high=1) for i in range(6)),
        shape=(3, 2),
        target=Target(name="y", classes=("low", "middle", "high")),
    )
    write_artifact(tmp_path / "sequence", contract)
    with pytest.raises(ContractError, match="reads a sequence"):
        Server(tmp_path / "sequence")


def test_a_packed_artifact_is_tried_as_it_is(run, tmp_path):
    packed = pack(Artifact.open(run / "artifact").files, tmp_path / "model.secateur")
    with served(packed) as server:
        reply, text = ask(server.url)
        assert reply.status == 200
        assert b"linear" in text


def test_a_server_that_is_closed_before_it_runs(tmp_path):
    server = Server(write_artifact(tmp_path / "a", table_contract()))
    closed = threading.Thread(target=server.close, daemon=True)
    closed.start()
    closed.join(20)
    assert not closed.is_alive()
    server.run()
    server.close()


def test_a_page_that_is_closed_before_its_answer(tmp_path, capfd):
    with served(write_artifact(tmp_path / "a", table_contract())) as server:
        parts = urlsplit(server.url)
        line = socket.create_connection((parts.hostname, parts.port))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.sendall(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n".encode())
        line.close()  # with a reset
        assert ask(server.url)[0].status == 200
        time.sleep(0.2)
    assert "Traceback" not in capfd.readouterr().err


def test_an_answer_that_is_no_number_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "weights", lambda *a: np.full(a[:2], np.nan, "float32"))
    with served(write_artifact(tmp_path / "a", table_contract(2))) as server:
        reply, text = ask(server.url, "row", json.dumps({"f0": "1", "f1": "2"}).encode())
    assert reply.status == 422
    assert "no finite number" in json.loads(text)["error"]
