"""What people see while a command runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from srgaze360 import console


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(console, "ERR", Console(file=text, force_terminal=True, width=100))
    return text


def test_steps_within_a_step_have_a_bar_of_their_own(terminal: io.StringIO) -> None:
    """A terminal shows one display at a time: a second one would be an error, hours into a benchmark."""
    with console.progress("outer", 3) as outer:
        outer(1)
        with console.progress("inner", 2) as inner:
            inner(2)
        outer(2)
    shown = terminal.getvalue()
    assert "3/3" in shown
    assert "2/2" in shown
    with console.progress("next", 1) as advance:
        advance(1)
    assert "1/1" in terminal.getvalue()


def test_a_failure_leaves_the_terminal_to_the_next(terminal: io.StringIO) -> None:
    with pytest.raises(ValueError, match="broken"), console.progress("first", 2), console.progress("within", 2):
        raise ValueError("broken")
    with console.progress("second", 1) as advance:
        advance(1)
    assert "second" in terminal.getvalue()


def test_log_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(console, "ERR", Console(file=text, force_terminal=False, width=100))
    with console.progress("outer", 1) as outer, console.progress("inner", 2) as inner:
        inner(2)
        outer(1)
    assert [line.split(" in ")[0] for line in text.getvalue().splitlines()] == ["inner: 2/2", "outer: 1/1"]
