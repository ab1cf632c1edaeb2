"""Colours, progress and completion: what a person sees, and a log does not."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from secateur.cli import out
from secateur.cli.exits import EXITS
from secateur.cli.left import TimeLeft, duration, paced
from secateur.errors import SecateurError, TooManyBadRowsError

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m|\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (900, "15 min"), (7260, "2 h 1 min")],
)
def test_a_time_is_told_in_its_two_largest_units(seconds, told):
    assert duration(seconds) == told
    assert duration(86_400 * 3.5) == "3.5 days"


def test_the_time_left_is_by_the_pace_since_the_start_alone():
    times = iter([0.0, 10.0, 20.0])
    left = TimeLeft(clock=lambda: next(times))
    assert left.told(60, 100) == ""
    assert left.told(70, 100) == "30 s left"
    assert left.told(80, 100) == "20 s left"
    assert left.told(100, 100) == ""


def test_trials_tell_the_time_left_to_those_who_watch():
    told = []
    for moving in (True, False):
        times = iter([0.0, 60.0])
        say = paced(told.append, moving=moving, left=TimeLeft(clock=times.__next__))
        say("read       40 rows")
        say("trial 3/5: done")
        say("trial 4/5: done")
    lines = ["read       40 rows", "trial 3/5: done", "trial 4/5: done"]
    assert told == [*lines[:2], "trial 4/5: done (1 min 0 s left)", *lines]


def test_errors_have_colour_in_a_terminal_alone(monkeypatch, capsys):
    out.fail("wrong.", "Mend.")
    assert capsys.readouterr().err == "error: wrong. Mend.\n"
    monkeypatch.setattr(out, "_err", lambda: Console(stderr=True, force_terminal=True))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out.fail("wrong.", "Mend.")
    assert "31m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    out.fail("wrong.", "Mend.")
    told = capsys.readouterr().err
    assert "31m" not in told
    assert "36m" not in told


def test_nothing_moves_in_a_log(capsys):
    with out.waiting("waiting"), out.counting("{task.description}") as progress:
        progress.add_task("counting", total=None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there(shell, secateur, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, told, _ = secateur("--show-completion", shell)
    assert code == 0
    assert "_SECATEUR_COMPLETE" in told


def test_the_help_tells_the_exit_codes(secateur):
    _, told, _ = secateur("--help")
    for code, what in EXITS.items():
        assert re.search(rf"^ +{code} +{re.escape(what)}$", told, flags=re.MULTILINE), code
    assert {SecateurError.exit_code, TooManyBadRowsError.exit_code} <= set(EXITS)


def test_names_out_of_files_are_printed_as_they_are_read(capsys):
    name = "[/x] :warning: \x1b]0;title\x07\x9b31mred"
    plain = "[/x] :warning: \N{REPLACEMENT CHARACTER}]0;title"
    out.result(name + "\ttab\n")
    out.table(name, [name, "[bold]"], [[name, "[/]"]])
    out.say(name)
    out.fail(name, name)
    for told, times in zip(capsys.readouterr(), (4, 3), strict=True):
        assert told.count(plain) == times
        assert not set(told) & {"\x1b", "\x07", "\x9b"}


def test_the_way_on_names_the_modules_too():
    from secateur.cli.run import _again

    words = _again(Path("r.yaml"), Path("runs/x"), ["a=1"], ["mine"])
    assert words == "secateur --import mine run r.yaml --out runs/x --set a=1 --resume"


@pytest.mark.parametrize("words", [("--target", "y"), ("--above", "3"), ("--no-header",)])
def test_an_option_of_data_without_data_is_refused(secateur, words):
    code, _, err = secateur("export", "none.keras", "out", *words)
    assert (code, words[0] in err, "Give --data" in err) == (2, True, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--by", "l1"),
        ("--round-to", "4"),
        ("--samples", "9"),
        ("--data", "rows.csv"),
        ("--target", "y"),
        ("--above", "3"),
        ("--no-header",),
    ],
)
def test_an_option_of_sensitivity_without_it_is_refused(secateur, words):
    code, _, err = secateur("inspect", "none.keras", *words)
    assert (code, words[0] in err, "Give --sensitivity" in err) == (2, True, True)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--runtime", "openvino"), "--latency"),
        (("--batch", "8"), "--latency"),
        (("--threads", "2"), "--latency"),
        (("--samples", "9"), "--data"),
        (("--target", "y"), "--data"),
        (("--no-header",), "--data"),
    ],
)
def test_an_option_of_a_plan_that_would_do_nothing_is_refused(secateur, words, needed):
    code, _, err = secateur("plan", "none.keras", "--macs", "0.5", *words)
    assert (code, words[0] in err, f"Give {needed}" in err) == (2, True, True)
