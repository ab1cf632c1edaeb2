"""Seal an artifact to age recipients or a passphrase, and open it in memory.

The format is age's own (age-encryption.org/v1), so the `age` tool opens what is sealed here, and
the other way round. A sealed artifact is one `.secateur` file, encrypted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.errors import ArtifactError, MissingExtraError, OutputError, SecateurError
from secateur.files import new_file

SEALED_ENDING = ".age"
# A sealed artifact is held in memory twice while it is opened.
SEALED_LIMIT = 4 * 2**30

_HEADS = (b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")
# The head, with one line for each recipient, of an age file that anybody made for people to use.
_KEY_LIMIT = 2**20


@dataclass(frozen=True)
class Secret:
    """What opens a sealed artifact: a file with age identities, or a passphrase."""

    identity: str | Path | None = None
    passphrase: str | None = field(default=None, repr=False)


def is_sealed(head: bytes) -> bool:
    """Return whether a file that begins like this is encrypted by age."""
    return head.startswith(_HEADS)


def unseal(path: Path, secret: Secret | None) -> bytes:
    """Return what a sealed file holds; nothing is written.

    Raises:
        ArtifactError: no secret is given, it is the wrong one, or the file was changed.
        MissingExtraError: the extra `sealing` is not installed.
    """
    age = _age()
    if secret is None or (secret.identity is None and secret.passphrase is None):
        raise ArtifactError(
            "the artifact is sealed.",
            where=path,
            mend="Give its key: --identity FILE, or --passphrase-file FILE.",
        )
    if (size := path.stat().st_size) > SEALED_LIMIT:
        raise ArtifactError(
            f"the sealed file has {size:,} bytes; at most {SEALED_LIMIT:,} are opened.", where=path
        )
    identities = [] if secret.identity is None else _identities(age, secret.identity)
    content = path.read_bytes()
    # The library panics, which is no Exception, on some files that age never wrote.
    try:
        if secret.passphrase is not None:
            return age.passphrase.decrypt(content, secret.passphrase)
        return age.decrypt(content, identities)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(
            f"the sealed artifact cannot be opened: the key is wrong, or the file was changed "
            f"({said}).",
            where=path,
            mend="Give the identity or the passphrase that it was sealed to.",
        ) from error


def seal(
    content: bytes,
    out: str | Path,
    *,
    recipients: Sequence[str] = (),
    passphrase: str | None = None,
) -> Path:
    """Encrypt the bytes of a `.secateur` file into `out`.

    Args:
        content: the file.
        out: the file to write; it is replaced if it exists.
        recipients: age recipients (`age1...`) or SSH public keys; each alone can open it.
        passphrase: a passphrase, in place of recipients.

    Raises:
        SecateurError: there is no recipient and no passphrase, or both, or a recipient is none.
        MissingExtraError: the extra `sealing` is not installed.
        ArtifactError: it is too large to be opened again.
        OutputError: the file cannot be written.
    """
    age = _age()
    if bool(recipients) == (passphrase is not None):
        raise SecateurError(
            "an artifact is sealed to recipients or to a passphrase.",
            mend="Give --to RECIPIENT, or --passphrase-file FILE.",
        )
    if passphrase is not None:
        sealed = age.passphrase.encrypt(content, passphrase)
    else:
        sealed = age.encrypt(content, [_recipient(age, each) for each in recipients])
    if len(sealed) > SEALED_LIMIT:
        raise ArtifactError(
            f"sealed, it has {len(sealed):,} bytes, and at most {SEALED_LIMIT:,} are opened again.",
            where=out,
            mend="Leave out files that scoring does not need, or protect its disk instead.",
        )
    try:
        with new_file(out) as partial:
            partial.write_bytes(sealed)
    except OSError as error:
        raise OutputError(
            f"the file cannot be written ({error.strerror or error}).",
            where=out,
            mend="Choose a folder that exists and has room.",
        ) from error
    return Path(out)


def check_recipients(recipients: Sequence[str]) -> None:
    """Refuse what is no recipient, before anything is written.

    Raises:
        SecateurError: names the first that is none.
        MissingExtraError: the extra `sealing` is not installed.
    """
    age = _age()
    for each in recipients:
        _recipient(age, each)


def new_identity(path: str | Path) -> str:
    """Write a new age identity to `path`, which only its owner may read; return its recipient.

    Raises:
        OutputError: the file exists, or cannot be written.
        MissingExtraError: the extra `sealing` is not installed.
    """
    age, path = _age(), Path(path)
    identity = age.x25519.Identity.generate()
    recipient = str(identity.to_public())
    write_secret(path, f"# recipient: {recipient}\n{identity}\n".encode())
    return recipient


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, and never over another.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    import os

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as error:
        raise OutputError(
            f"the key cannot be written ({error.strerror or error}).",
            where=path,
            mend="Name a new file in a folder that exists.",
        ) from error


def read_secret(path: str | Path) -> bytes:
    """Return a small file of keys or of one passphrase.

    Raises:
        SecateurError: it cannot be read, or is too large for one.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_KEY_LIMIT + 1)
    except OSError as error:
        raise SecateurError(
            f"the file cannot be read ({error.strerror or error}).", where=path
        ) from error
    if len(content) > _KEY_LIMIT:
        raise SecateurError(
            f"the file has more than {_KEY_LIMIT:,} bytes, so it is no key.", where=path
        )
    return content


def _identities(age: Any, path: str | Path) -> list[Any]:
    content = read_secret(path)
    try:
        text = content.decode("utf-8")
        if "PRIVATE KEY-----" in text:
            return [age.ssh.Identity.from_buffer(content)]
        lines = (line.strip() for line in text.splitlines())
        found = [age.x25519.Identity.from_str(x) for x in lines if x and not x.startswith("#")]
    except Exception as error:
        raise ArtifactError(
            f"the file holds no age identity ({error}).",
            where=path,
            mend="Give the file with the line that begins with AGE-SECRET-KEY-, "
            "or an SSH private key.",
        ) from error
    if not found:
        raise ArtifactError(
            "the file holds no age identity.",
            where=path,
            mend="Give the file with the line that begins with AGE-SECRET-KEY-.",
        )
    return found


def _recipient(age: Any, text: str) -> Any:
    kind = age.ssh.Recipient if text.startswith("ssh-") else age.x25519.Recipient
    try:
        return kind.from_str(text)
    except Exception as error:
        raise SecateurError(
            f"{text!r} is no age recipient ({error}).",
            where="--to",
            mend="It begins with age1, or is an SSH public key.",
        ) from error


def _age() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise MissingExtraError(
            "sealed artifacts need the package pyrage.",
            mend="Run `pip install 'secateur[sealing]'`.",
        ) from error
    return pyrage
