"""axe-core, fetched by the ordinary client of its registry where that is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.14.1"
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
  (found) => done(JSON.stringify(found.violations.map((one) => ({
    id: one.id, impact: one.impact, help: one.help,
    where: one.nodes.slice(0, 4).map((node) => node.html.slice(0, 160)),
  })))),
  (error) => done(JSON.stringify([{id: 'axe', help: String(error)}])));
"""


@cache
def source() -> str:
    """Return the script, or what keeps it away as a reason that starts with "!"."""
    npm = shutil.which("npm")
    if npm is None:
        return "!axe-core is not there: npm is not installed"
    with tempfile.TemporaryDirectory() as place:
        try:
            done = subprocess.run(
                [npm, "pack", f"axe-core@{VERSION}", "--json", "--silent"],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.TimeoutExpired:
            return "!axe-core cannot be fetched: npm does not answer"
        packed = next(Path(place).glob("*.tgz"), None)
        if done.returncode or packed is None:
            return f"!axe-core cannot be fetched: {done.stderr.strip()[-200:]}"
        with tarfile.open(packed) as archive:
            file = archive.extractfile("package/axe.min.js")
            assert file is not None
            return file.read().decode()


def check_accessible(browser: Any) -> None:
    """Fail where axe-core finds anything on the page that is shown; say nothing where it is away.

    The script is evaluated through the debugger, which no policy of the page keeps out.
    """
    script = source()
    if script.startswith("!"):
        pytest.skip(script[1:])
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": script})
    assert json.loads(browser.execute_async_script(RUN)) == []
