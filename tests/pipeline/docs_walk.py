"""Walks through the pages of the documentation: runs their commands as a reader would and compares what they print."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from docs_inputs import PREPARE
from docs_pages import (
    Command,
    Page,
    Prepare,
    Script,
    Step,
    Text,
    page_path,
    read_page,
)
from servers import free_port

from radiomics_crlm.cli.app import run

_DIFFERENCE = doctest.OutputChecker()
# Ports that pages name; each is exchanged for a free one, because tests of two processes may run at once.
_PORTS = ("8786", "5000", "5001", "5002")
# A server may take its time on a busy machine.
_PATIENCE_S = 30
_LONGEST_S = {False: 300, True: 3600}


class Walk:
    """Walks through the commands of pages; a page that goes on after another starts in the folder that it left."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._done: dict[str, Path] = {}
        self._failed: set[str] = set()

    def page(self, page: Page) -> Path:
        """Do all steps of a page once; returns its folder."""
        if page.name in self._done:
            return self._done[page.name]
        assert page.name not in self._failed, f"{page.name} failed, on which this page builds"
        self._failed.add(page.name)
        before = self.page(read_page(page_path(page.after))) if page.after else None
        folder = before or self._root / page.name.replace("/", "_")
        folder.mkdir(exist_ok=True)
        with contextlib.chdir(folder), _Shell(folder, _LONGEST_S[page.slow]) as shell:
            for number, step in enumerate(page.steps):
                following = page.steps[number + 1] if number + 1 < len(page.steps) else None
                asked = isinstance(following, Command) and following.line == "echo $?"
                _do(step, shell, may_fail=asked)
            self._done[page.name] = Path.cwd()
        self._failed.remove(page.name)
        return self._done[page.name]


class _Shell:
    """Runs commands in a folder: ``crlm`` in this process, everything else in a shell, some in the background."""

    def __init__(self, folder: Path, longest_s: int) -> None:
        self._folder = folder
        self._longest_s = longest_s
        self._code = 0
        self._background: list[subprocess.Popen[bytes]] = []
        self._ports = {port: str(free_port()) for port in _PORTS}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self._environment = {**os.environ, "PATH": path}

    def __enter__(self) -> _Shell:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._background:
            for end in (signal.SIGTERM, signal.SIGKILL):  # each leads a group of its own
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, end)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_PATIENCE_S)

    def __call__(self, line: str, variables: str = "") -> tuple[int, str]:
        """Exit code and output of a command; messages of an error follow the output."""
        if line.startswith("cd "):
            os.chdir(line.removeprefix("cd "))  # `Walk.page` goes back
            return 0, ""
        for port, free in self._ports.items():
            line = line.replace(port, free)
        if line.endswith(" &"):
            with (self._folder / ".background.log").open("ab") as log:
                started = subprocess.Popen(
                    ["bash", "-c", f"exec {line[:-2]}"], stdout=log, stderr=log, env=self._environment,
                    start_new_session=True,
                )  # fmt: skip
            self._background.append(started)
            self._await(line)
            return 0, ""
        own = Path("radiomics_crlm").is_dir()  # in a source tree its own program is run
        if line.startswith("crlm ") and not own and not variables and not re.search(r"[|>&;$]", line):
            self._code, output = _inside(shlex.split(line)[1:])
        else:
            added = dict(pair.split("=", 1) for pair in shlex.split(variables))
            done = subprocess.run(
                ["bash", "-c", f"(exit {self._code}); {line}"],
                capture_output=True, text=True, timeout=self._longest_s,
                env=self._environment | added | ({"PYTHONPATH": str(Path.cwd())} if own else {}),
            )  # fmt: skip
            self._code, output = done.returncode, done.stdout + _errors(done.stderr)
        for port, free in self._ports.items():
            output = output.replace(free, port)
        return self._code, output

    def _await(self, line: str) -> None:
        """Wait until a server that was started answers at its port."""
        port = re.search(r"--port (\d+)", line)
        deadline = time.monotonic() + 10 * _PATIENCE_S
        while port is not None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port[1])), timeout=1):
                return
            if time.monotonic() > deadline:
                pytest.fail(f"nobody answers at the port of: {line}", pytrace=False)
            time.sleep(0.2)


def _inside(arguments: list[str]) -> tuple[int, str]:
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        code = run(arguments)
    return code, shown.getvalue() + _errors(said.getvalue())


def _errors(text: str) -> str:
    """What is said of errors; progress is left out."""
    _, mark, rest = text.partition("crlm: error:")
    return mark + rest


def _do(step: Step, shell: _Shell, *, may_fail: bool) -> None:
    if isinstance(step, Prepare):
        PREPARE[step.name](Path.cwd())
    elif isinstance(step, Text):
        Path(step.name).parent.mkdir(parents=True, exist_ok=True)
        with Path(step.name).open("a" if step.append else "w", encoding="utf-8") as stream:
            stream.write(step.content)
    elif isinstance(step, Script):
        code, output = shell(f"python -c {shlex.quote(step.content)}")
        if code:
            pytest.fail(f"{step.content}\nexit code {code}\n{output}", pytrace=False)
    elif isinstance(step, Command):
        code, output = shell(step.line, step.variables)
        if code and not may_fail:
            pytest.fail(f"$ {step.line}\nexit code {code}\n{output}", pytrace=False)
        if step.output is not None:
            _compare(step, output)


def _compare(step: Command, output: str) -> None:
    wanted = doctest.Example(step.line, step.output or "")
    got = re.sub(r"[ \t]+$", "", output, flags=re.MULTILINE)
    flags = doctest.ELLIPSIS
    if not _DIFFERENCE.check_output(wanted.want, got, flags):
        pytest.fail(f"$ {step.line}\n{_DIFFERENCE.output_difference(wanted, got, flags)}", pytrace=False)
