"""Keys and signatures on the command line: what is asked for is checked, or refused."""

import pytest

from secateur.formats import archive
from unit.cli.commands import one_line
from unit.scoring.artifacts import table_contract, write_artifact

pytest.importorskip("model_signing", reason="the extra `signing` is not installed")
pytest.importorskip("pyrage", reason="the extra `sealing` is not installed")


@pytest.fixture
def home(tmp_path):
    """Write a signed artifact, an unsigned one beside it, and a sealed one, with their keys."""
    from secateur.formats import sealing, signing

    for name in ("artifact", "plain"):
        write_artifact(tmp_path / name, table_contract())
    store = write_artifact(tmp_path / "other", table_contract()).files
    recipient = sealing.new_identity(tmp_path / "id.key")
    sealing.seal(archive.packed(store), tmp_path / "s.age", recipients=[recipient])
    signing.new_key(tmp_path / "k.pem")
    from secateur.formats.artifact import Artifact

    signed = Artifact.open(tmp_path / "artifact").files
    archive.add_signature(signed, signing.signature_of(signed, tmp_path / "k.pem"))
    return tmp_path


@pytest.fixture
def page(monkeypatch):
    """Let a page end as soon as it is served."""
    from secateur.serving.server import Server

    monkeypatch.setattr(Server, "run", Server.close)


def refused(done, *words):
    code, told, err = done
    assert (code, told) == (2, ""), err
    for word in words:
        assert word in one_line(err)


def test_try_asks_for_a_signature_of_both_models(home, page, secateur):
    words = ("try", "artifact", "--no-browser", "--signed-by", "k.pem.pub")
    assert secateur(*words)[0] == 0
    refused(secateur("try", "plain", *words[2:]), "plain", "not signed")
    refused(secateur(*words, "--beside", "plain"), "plain", "not signed")
    (home / "plain").rename(home / "baseline")
    refused(secateur(*words), "baseline", "not signed")


def test_inspect_and_check_ask_for_a_signature(home, secateur):
    signed = ("--signed-by", "k.pem.pub")
    refused(secateur("inspect", "plain", *signed), "not signed")
    refused(secateur("check", "rows.csv", "--contract", "plain", *signed), "not signed")
    contract = home / "artifact" / "contract.json"
    refused(secateur("check", "rows.csv", "--contract", contract, *signed), "only an artifact")
    (home / "m.keras").touch()
    refused(secateur("inspect", "m.keras", *signed), "only an artifact")
    (home / "rows.csv").write_text("f0,f1,f2,f3\n1,1,1,1\n")
    assert secateur("check", "rows.csv", "--contract", "artifact", *signed)[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        "verify artifact",
        "score artifact rows.csv out",
        "open artifact out",
        "inspect artifact",
        "check rows.csv --contract artifact",
        "try artifact --no-browser",
    ],
)
def test_a_key_for_what_is_not_sealed_is_refused(home, secateur, words):
    refused(secateur(*words.split(), "--identity", "none.key"), "not sealed", "--identity")


def test_a_key_opens_one_of_two(home, page, secateur):
    words = ("try", "s.age", "--beside", "plain", "--no-browser", "--identity", "id.key")
    assert secateur(*words)[0] == 0


def test_what_is_sealed_has_no_json_of_its_layers(home, secateur):
    refused(secateur("inspect", "s.age", "--json", "--identity", "id.key"), "open", "--json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sign s.age --key k.pem", "open"),
        ("pack s.age", "open"),
        ("seal s.age --to age1", "open"),
        ("sign plain --key k.pem --chain k.pem.pub", "--certificate"),
        ("sign plain --new-key new.key --certificate k.pem", "--certificate"),
        ("sign plain --new-key new.key --password-file k.pem", "--password-file"),
        ("seal plain --to garbage --new-identity new.key", "no age recipient"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(home, secateur, words, says):
    before = sorted(home.rglob("*"))
    refused(secateur(*words.split()), says)
    assert sorted(home.rglob("*")) == before
