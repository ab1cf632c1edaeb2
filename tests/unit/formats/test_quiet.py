"""Silence inside the block, and nothing lost when it fails."""

import os
import subprocess
import sys
import warnings

import pytest

from secateur.formats.quiet import quiet


def test_python_and_file_descriptors_are_quiet(capfd):
    print("before")
    with quiet():
        print("printed")
        os.write(2, b"written\n")
        warnings.warn("warned", stacklevel=1)
    print("after")
    out, err = capfd.readouterr()
    assert (out.split(), err) == (["before", "after"], "")


def _fail(said):
    with quiet():
        os.write(2, said)
        raise ValueError("broken")


def test_error_carries_what_was_said():
    with pytest.raises(ValueError, match="broken") as caught:
        _fail(b"the reason\n")
    assert caught.value.__notes__ == ["the reason"]


def test_error_in_silence_carries_no_note():
    with pytest.raises(ValueError, match="broken") as caught:
        _fail(b"")
    assert not hasattr(caught.value, "__notes__")


def test_closed_streams():
    code = "import os; os.close(1); os.close(2)\nfrom secateur.formats.quiet import quiet\n"
    code += "with quiet(): os.system('echo heard')\nos._exit(7)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
