"""What the user sees: lines, tables and progress; plain text where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

_PLAIN_INTERVAL_S = 5.0
_PLAIN_WIDTH = 200


class Screen:
    """Output of one command. ``progress`` is a callback ``(stage, done, total)`` for long work."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True)
        if not self._out.is_terminal:  # a file or a pipe has no width to fit into
            self._out.width = _PLAIN_WIDTH
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}
        self._progress: Progress | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person sees the output and can answer."""
        return bool(self._out.is_terminal)

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Print one line to standard output."""
        self._out.print(text, style=style, markup=False)

    def error(self, text: str) -> None:
        """Print an error to standard error."""
        self.stop()
        self._err.print(f"crlm: error: {text}", style="bold red", markup=False)

    def table(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        self.stop()
        table = Table(*headers, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        self._out.print(table)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a stage are finished."""
        if self._err.is_terminal:
            self._bar(stage, done, total)
        else:
            self._plain(stage, done, total)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show, where there is a terminal, that something without countable steps is being done, and for how long."""
        if not self._err.is_terminal:
            yield
            return
        columns = (SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as shown:
            shown.add_task(what, total=None)
            yield

    def stop(self) -> None:
        """Close the progress display."""
        if self._progress is not None:
            self._progress.stop()
            self._progress, self._bars = None, {}

    def _bar(self, stage: str, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._err,
            )
            self._progress.start()
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._bars[stage], completed=done, total=total)

    def _plain(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        # What was done before (in a run that goes on) took no time now.
        started, before = self._started.setdefault(stage, (now, done))
        if done < total and now - self._said.get(stage, started) < _PLAIN_INTERVAL_S:
            return
        self._said[stage] = now
        elapsed = now - started
        left = f", about {elapsed / (done - before) * (total - done):.0f} s left" if before < done < total else ""
        self._err.print(f"{stage}: {done} of {total} ({elapsed:.0f} s{left})", markup=False)
