"""Signatures by the certificate of a key, and the chain that it must lead along."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import pytest

from secateur.cli.app import app
from unit.scoring.artifacts import table_contract, write_artifact

pytest.importorskip("model_signing", reason="the extra `signing` is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner


@dataclass(frozen=True)
class Certified:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def certified(
    name: str, by: Certified | None = None, *, issues: bool = True, signs: bool = True
) -> Certified:
    """Make a key with a certificate by another one, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=issues, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs,
                key_cert_sign=issues,
                crl_sign=issues,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CODE_SIGNING if signs else ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .sign(key if by is None else by.key, hashes.SHA256())
    )
    return Certified(key, made)


@pytest.fixture
def files(tmp_path) -> Path:
    """Write a root, one between, who signs, and a stranger, each as a certificate in PEM."""
    root = certified("root")
    between = certified("between", root)
    signs = certified("signs", between, issues=False)
    for name, each in (
        ("root", root),
        ("between", between),
        ("signs", signs),
        ("plain", certified("plain", root, issues=False)),
        ("stranger", certified("stranger")),
        ("server", certified("server", root, issues=False, signs=False)),
    ):
        pem = each.certificate.public_bytes(serialization.Encoding.PEM)
        (tmp_path / f"{name}.pem").write_bytes(pem)
        key = each.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (tmp_path / f"{name}.key").write_bytes(key)
    write_artifact(tmp_path / "artifact", table_contract())
    return tmp_path


def run(folder: Path, command: str) -> tuple[int, str]:
    """Run a command in which files of a folder are named by `@`."""
    done = CliRunner().invoke(app, command.replace("@", f"{folder}/").split())
    return done.exit_code, done.output.replace("\n", " ")


@pytest.mark.parametrize("who", ["signs", "plain"])
def test_a_certificate_leads_to_its_root(files, who):
    more = "--chain @between.pem" if who == "signs" else ""
    signed = run(files, f"sign @artifact --key @{who}.key --certificate @{who}.pem {more}")
    assert signed[0] == 0, signed[1]
    assert "--certificate ROOT" in signed[1]
    assert run(files, "verify @artifact --certificate @root.pem")[0] == 0
    code, said = run(files, "verify @artifact --certificate @stranger.pem")
    assert (code, "not by this certificate" in said) == (2, True)
    (files / "artifact" / "contract.json").write_text("{}")
    assert run(files, "verify @artifact --certificate @root.pem")[0] == 2


def test_a_certificate_of_another_key_does_not_sign(files):
    code, said = run(files, "sign @artifact --key @plain.key --certificate @signs.pem")
    assert code == 2
    assert "does not match" in said


def test_a_key_with_a_password_does_not_sign_with_a_certificate(files):
    (files / "password").write_text("open")
    words = "sign @artifact --key @plain.key --certificate @plain.pem --password-file @password"
    code, said = run(files, words)
    assert code == 2
    assert "openssl pkey" in said


def test_a_certificate_that_may_not_sign_does_not(files):
    code, said = run(files, "sign @artifact --key @server.key --certificate @server.pem")
    assert code == 2
    assert "may not sign" in said
    assert not (files / "artifact" / "model.sig").exists()
