"""Sign an artifact and check a signature, in the format of OpenSSF Model Signing.

The signature is a Sigstore bundle over the hash of every file, the manifest among them, so the
`model_signing` tool checks the folder as well. Keys and certificates are files, and nothing here
uses the network. The hashes are taken from where the artifact lies: a `.secateur` file is not
unpacked for it, and a sealed one only in memory.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.errors import ArtifactError, MissingExtraError, OutputError, SecateurError
from secateur.formats.manifest import SIGNATURE
from secateur.formats.sealing import read_secret, write_secret
from secateur.formats.store import Store, read_text, sha256_of

_MEND = "Get the artifact again from who made it, or ask for its signature again."


@dataclass(frozen=True)
class Signer:
    """Whose signature an artifact must carry.

    Attributes:
        key: the file of an elliptic-curve public key, in PEM.
        certificates: files of certificates in PEM: the roots that its certificate must lead to.
    """

    key: str | Path | None = None
    certificates: tuple[str | Path, ...] = ()


def signature_of(
    store: Store,
    private_key: str | Path,
    *,
    password: str | None = None,
    certificate: str | Path | None = None,
    chain: Sequence[str | Path] = (),
) -> bytes:
    """Return the signature of an artifact's files, as a Sigstore bundle.

    Args:
        store: the files; a signature among them is left out.
        private_key: the file of an elliptic-curve private key (P-256, P-384 or P-521), in PEM.
        password: what the key file is encrypted with.
        certificate: the certificate of the key, to sign with it in place of the bare key.
        chain: certificates between that one and the root.

    Raises:
        SecateurError: the key or the certificate cannot be read, or the certificate may not sign.
        MissingExtraError: the extra `signing` is not installed.
    """
    hashing = _hashing(store)
    from model_signing import signing

    if certificate is not None and password is not None:
        raise SecateurError(
            "a key with a password cannot sign with a certificate.",
            where=private_key,
            mend="Make a file of the key without one: openssl pkey -in KEY -out PLAIN.",
        )
    config = signing.Config().set_hashing_config(hashing)
    for each in (private_key, *(() if certificate is None else (certificate,)), *chain):
        read_secret(each)
    try:
        if certificate is None:
            given: Any = None if password is None else password.encode()
            config.use_elliptic_key_signer(private_key=Path(private_key), password=given)
        else:
            _check_usage(certificate)
            # The library cannot read an empty chain; a certificate may stand in it twice.
            config.use_certificate_signer(
                private_key=Path(private_key),
                signing_certificate=Path(certificate),
                certificate_chain=[Path(each) for each in chain or (certificate,)],
            )
    except SecateurError:
        raise
    except Exception as error:
        raise SecateurError(
            f"the key cannot be used to sign ({_line(error)}).",
            where=private_key,
            mend="Give an elliptic-curve private key in PEM, such as `secateur sign --new-key` "
            "makes.",
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / SIGNATURE
        config.sign(store.place, out)
        return out.read_bytes()


def _check_usage(certificate: str | Path) -> None:
    """Refuse a certificate that no signature could be checked with."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    held = x509.load_pem_x509_certificate(read_secret(certificate)).extensions
    with contextlib.suppress(x509.ExtensionNotFound):
        if held.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return
    with contextlib.suppress(x509.ExtensionNotFound):
        code = ExtendedKeyUsageOID.CODE_SIGNING
        if code in held.get_extension_for_class(x509.ExtendedKeyUsage).value:
            return
    raise SecateurError(
        "the certificate may not sign: its usage is neither digitalSignature nor codeSigning.",
        where=certificate,
        mend="Issue it with -addext keyUsage=critical,digitalSignature.",
    )


def check_signature(
    store: Store, signer: Signer, known: Mapping[str, str] | None = None
) -> Iterator[ArtifactError]:
    """Yield all that is wrong with an artifact's signature.

    Args:
        store: the files.
        signer: whose signature it must be.
        known: hashes of files that were read already; the signature must be of these, whatever
            lies in their place by now.

    Raises:
        SecateurError: the public key or the certificates cannot be read.
        MissingExtraError: the extra `signing` is not installed.
    """
    known = known or {}
    hashing = _hashing(store, known)
    where = store.where(SIGNATURE)
    if SIGNATURE not in store.names():
        yield ArtifactError(
            "the artifact is not signed.", where=where, mend="Sign it: secateur sign ARTIFACT."
        )
        return
    signature = read_text(store, SIGNATURE)
    verify = _verifier(signer, hashing)
    # The library reads a signature from a file alone. It holds hashes, and nothing of the model.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SIGNATURE
        file.write_bytes(signature)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                verify(store.place, file)
        except (SecateurError, MemoryError):
            raise
        except Exception as error:
            if not str(error).startswith("Signature mismatch"):
                yield ArtifactError(
                    f"the signature is not by this {'key' if signer.key else 'certificate'}, or "
                    f"was changed ({_line(error)}).",
                    where=where,
                    mend="Give the public key of who signed it, or do not use the artifact.",
                )
                return
            found = list(_differences(store, signature, known))
            changed = "the artifact changed while its signature was checked."
            yield from found or [ArtifactError(changed, where=where, mend=_MEND)]


def _verifier(signer: Signer, hashing: Any) -> Callable[[Path, Path], None]:
    from model_signing import verifying

    config = verifying.Config().set_hashing_config(hashing)
    given = (signer.key,) if signer.key is not None else signer.certificates
    if not given:
        raise SecateurError("neither a public key nor certificates are given.")
    for each in given:
        read_secret(each)
    try:
        if signer.key is not None:
            config.use_elliptic_key_verifier(public_key=Path(signer.key))
        else:
            config.use_certificate_verifier(
                certificate_chain=[Path(each) for each in signer.certificates]
            )
    except Exception as error:
        raise SecateurError(
            f"the file cannot be used to check a signature ({_line(error)}).",
            where=given[0],
            mend="Give an elliptic-curve public key, or certificates, in PEM.",
        ) from error
    return config.verify


def _differences(
    store: Store, signature: bytes, known: Mapping[str, str]
) -> Iterator[ArtifactError]:
    """Name the files that are not as they were signed; the signature itself is sound."""
    payload = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
    signed = {each["name"]: each["digest"] for each in payload["predicate"]["resources"]}
    here = {name: _hash(store, name, known) for name in store.names() if name != SIGNATURE}
    for name in sorted(signed.keys() | here.keys()):
        if name not in here:
            what = "the file was signed, and is missing."
        elif name not in signed:
            what = "the signature does not cover this file."
        elif signed[name] != here[name]:
            what = "the file was changed after it was signed."
        else:
            continue
        yield ArtifactError(what, where=store.where(name), mend=_MEND)


def _hash(store: Store, name: str, known: Mapping[str, str]) -> str:
    return known.get(name) or sha256_of(store, name)


def _hashing(store: Store, known: Mapping[str, str] | None = None) -> Any:
    """Return how the library gets the hashes of a store's files, whatever the store is."""
    try:
        from model_signing import hashing, manifest
        from model_signing._hashing.hashing import Digest
    except ImportError as error:
        raise MissingExtraError(
            "signatures need the package model-signing.",
            mend="Run `pip install 'secateur[signing]'`.",
        ) from error

    class Hashing(hashing.Config):
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> manifest.Manifest:
            about = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
            kind = manifest.SerializationType.from_args(about | {"ignore_paths": [SIGNATURE]})
            names = [name for name in store.names() if name != SIGNATURE]
            hashes = (_hash(store, name, known or {}) for name in names)
            digests = (Digest("sha256", bytes.fromhex(each)) for each in hashes)
            items = [kind.new_item(*each) for each in zip(names, digests, strict=True)]
            # The name of "." is empty, and a signature without a name cannot be checked.
            return manifest.Manifest(store.place.resolve().name, items, kind)

    return Hashing()


def new_key(path: str | Path) -> Path:
    """Write a new P-256 private key to `path`, and its public key to `path.pub`.

    Returns:
        The file of the public key.

    Raises:
        OutputError: a file exists already, or cannot be written.
        MissingExtraError: the extra `signing` is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingExtraError(
            "a key needs the package model-signing.", mend="Run `pip install 'secateur[signing]'`."
        ) from error
    path = Path(path)
    public = path.with_name(path.name + ".pub")
    if public.exists():
        raise OutputError("the file exists already.", where=public, mend="Name a new file.")
    key = ec.generate_private_key(ec.SECP256R1())
    write_secret(
        path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return public


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(". ") or type(error).__name__
