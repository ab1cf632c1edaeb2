"""`secateur try`: an artifact on a page in the browser, on this machine alone."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.trusted import Identity, PassphraseFile, Roots, SignedBy, secret, signer


def tryout(
    artifact: Annotated[Path, typer.Argument(help="The exported model.", metavar="ARTIFACT")],
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            help="Another artifact to see beside it; the baseline of its run by default.",
            metavar="ARTIFACT",
        ),
    ] = None,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    signed_by: SignedBy = None,
    certificates: Roots = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; by default one that is free.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page.")
    ] = True,
) -> None:
    """Open a page on which the model, and the one before it, answer a picture or a row.

    The page is served to this machine alone, under an address that holds a random token. Pictures
    are dropped, chosen or taken by the webcam; they go through the same checks as when data is
    scored, and nothing is written to the disk. A signature that is asked for is asked of both
    models.
    """
    from secateur.formats.artifact import Artifact
    from secateur.serving.server import Server

    key = secret(identity, passphrase_file, artifact, beside)
    asked = signer(signed_by, certificates)
    with sink.waiting("opening"):
        opened = Artifact.open(artifact, secret=key, signed_by=asked)
        other = None if beside is None else Artifact.open(beside, secret=key, signed_by=asked)
        server = Server(opened, other, port=port, signed_by=asked)
    sink.result(server.url)
    sink.say("Press ctrl-C to stop.")
    if browser:
        webbrowser.open(server.url)
    try:
        server.run()
    except KeyboardInterrupt:
        sink.say("stopped")
