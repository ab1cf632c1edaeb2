"""What `--json` prints of the commands on artifacts."""

from __future__ import annotations

from secateur.cli.told import Told


class ProblemTold(Told):
    """What is wrong with a file of an artifact."""

    file: str
    what: str


class VerifyTold(Told):
    """What `secateur verify --json` prints, with exit code 2 where the artifact is not sound.

    Attributes:
        artifact: where it is.
        kind: what it is: a folder, one file, or a sealed one.
        files: how many files it lists.
        bytes: their size.
        signed: whether it carries a signature.
        signer: whose signature was found to be right; empty where none was asked for.
        sound: whether nothing is wrong.
        problems: all that is wrong.
    """

    artifact: str
    kind: str
    files: int
    bytes: int
    signed: bool
    signer: str
    sound: bool
    problems: tuple[ProblemTold, ...]


class SignTold(Told):
    """What `secateur sign --json` prints.

    Attributes:
        artifact: what was signed.
        public_key: the file of the public key, where a key was made.
    """

    artifact: str
    public_key: str | None


class WrittenTold(Told):
    """What `secateur pack --json` and `secateur open --json` print.

    Attributes:
        written: the file or folder that was written.
        bytes: its size.
    """

    written: str
    bytes: int


class SealTold(WrittenTold):
    """What `secateur seal --json` prints.

    Attributes:
        written: the file that was written.
        bytes: its size.
        recipients: who may open it; empty where a passphrase does.
    """

    recipients: tuple[str, ...]
