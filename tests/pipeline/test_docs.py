"""The documentation: its commands are run, what it names exists, and the site builds without a warning."""

from __future__ import annotations

import contextlib
import doctest
import functools
import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from docs_inputs import PREPARE
from docs_pages import (
    DOCS,
    REPOSITORY,
    Command,
    Page,
    Prepare,
    Script,
    Skipped,
    Step,
    Text,
    is_campaign,
    page_path,
    pages,
    read_page,
    sources,
)
from servers import free_port

from radiomics_crlm import clinical
from radiomics_crlm.cli.app import app, run
from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.schema import load_schema

_PAGES = pages()
_DIFFERENCE = doctest.OutputChecker()
# Ports that pages name; each is exchanged for a free one, because tests of two processes may run at once.
_PORTS = ("8786", "5000", "5001", "5002")
# A server may take its time on a busy machine.
_PATIENCE_S = 30
_LONGEST_S = {False: 300, True: 3600}
_NETWORK = "needs the network"
# What starts a command line.
_PROGRAM = r"(?:\S*/)?(?:crlm|make|python|pip|git|mlflow|dvc|mutmut|nox|docker|podman)"

pytestmark = pytest.mark.xdist_group("docs")


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


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name, marks=[pytest.mark.slow] if p.slow else []) for p in _PAGES]
)
def test_the_commands_of_the_page_do_what_it_says(page: Page, walk: Walk) -> None:
    if page.name == "worked_examples.md":
        pytest.skip("compared with the program by test_rules_documents")
    walk.page(page)


def test_only_what_needs_the_network_is_not_run() -> None:
    skipped = {
        (line, step.reason)
        for path in sources()
        if not is_campaign(path)
        for step in read_page(path).steps
        if isinstance(step, Skipped)
        for line in step.lines
    }
    assert skipped == {
        ("crlm fetch idc --collection colorectal_liver_metastases --patients 5 --out data --yes", _NETWORK),
    }


def test_what_campaigns_name_exists() -> None:
    """Campaigns take hours and are run by hand; their programs, tests and settings must be there."""
    for path in filter(is_campaign, sources()):
        named = re.findall(r"\b(?:benchmarks|tests)/[\w/.-]*\w\.(?:py|yaml)\b", path.read_text(encoding="utf-8"))
        absent = [name for name in named if not (REPOSITORY / name).is_file()]
        assert not absent, f"{path.name}: {absent}"


def test_commands_stand_in_consoles_only() -> None:
    """Consoles are run; a command in another block would not be."""
    for path in sources():
        if is_campaign(path):
            continue
        text = path.read_text(encoding="utf-8")
        languages = re.findall(r"^ *```+ ?([a-z]+)", text, re.MULTILINE)
        assert not {"bash", "sh", "shell", "zsh"} & set(languages), f"{path.name}: show commands as console"
        others = re.sub(r"^( *```+) ?console.*?^\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
        blocks = [*re.findall(r"^ *```+[^\n`]*\n(.*?)^ *```+ *$", others, re.MULTILINE | re.DOTALL)]
        blocks += re.findall(r"^    .*$", others, re.MULTILINE)
        commands = [line for block in blocks for line in re.findall(rf"^ *(?:\$ )?{_PROGRAM} .*$", block, re.MULTILINE)]
        assert not commands, f"{path.name}: show as console: {commands}"


def _command_lines() -> Iterator[tuple[str, str]]:
    """Page, and each command line of ``crlm`` that its code shows."""
    for path in sources():
        text = path.read_text(encoding="utf-8")
        fenced = re.findall(r"^ *```.*?^ *```", text, re.MULTILINE | re.DOTALL)
        spans = re.findall(r"`(crlm [^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
        joined = "\n".join(re.sub(r"\\\n\s*", "", block) for block in fenced)
        lines = re.findall(r"^ *(?:\$ )?(?:\S*/)?(crlm [a-z].*)$", joined, re.MULTILINE)
        indented = re.findall(r"^    (?:\$ )?(crlm [a-z].*)$", text, re.MULTILINE)
        for line in dict.fromkeys([*spans, *lines, *indented]):
            if "<tab>" not in line.lower():  # the beginning of a word, which the shell completes
                yield path.name, re.sub(r"  +.*$|[\[\]]", "", line)


def test_every_command_and_option_that_the_pages_name_exists() -> None:
    found = list(_command_lines())
    assert len(found) > 50
    wrong = [f"{page}: {line}: {fault}" for page, line in found if (fault := _fault_of(line))]
    assert not wrong, "\n".join(wrong)


@functools.cache
def _program() -> Any:
    return typer.main.get_command(app)


def _fault_of(line: str) -> str:
    command = _program()
    words = [word for word in line.split()[1:] if word not in ("...", "|")]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {name for p in command.params for name in [*p.opts, *p.secondary_opts]} | {
        "--help",
        "--debug",
        "--version",
    }
    wrong = [word for word in words if re.match(r"--[a-z]", word) and re.match(r"--[a-z-]+", word)[0] not in options]
    return f"no option {', '.join(wrong)}" if wrong else ""


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The hook that writes the pages of the reference."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "hooks" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_names_every_command_key_and_column(reference: ModuleType) -> None:
    written = reference.pages()
    for words, command in reference.walk_commands(typer.main.get_command(app)):
        section = written["command_line.md"].split(f"## `crlm {' '.join(words)}` ")[1].split("\n## ")[0]
        for parameter in command.params:
            assert parameter.name == "help" or f"`{reference._names(parameter)}`" in section, words
            assert parameter.name == "help" or parameter.help, f"{words}: {parameter.name} has no help"
    assert all(f"| `{name}` |" in written["experiment.md"] for name in ExperimentConfig.model_fields)
    assert all(f"| `{name}` |" in written["clinical_columns.md"] for name in load_schema("clinical").columns)
    for schema in reference.schemas():
        assert schema.table == "clinical" or f"\n## {schema.table}\n" in written["tables.md"]
    rules = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "rules").glob("*.md"))
    assert all(f'<a id="{name}"></a>' in rules for name in clinical.rule_ids())


def test_the_reference_says_what_every_module_is_for(reference: ModuleType) -> None:
    """The way through the house: one sentence of each."""
    written = reference.pages()["modules.md"]
    for path in (REPOSITORY / "radiomics_crlm").rglob("*.py"):
        name = path.stem if path.stem != "__init__" else ".".join(path.parent.relative_to(REPOSITORY).parts)
        row = rf"^## {re.escape(name)}\n\n(.*)$" if path.stem == "__init__" else rf"^\| `{name}` \| (.*) \|$"
        said = re.search(row, written, re.MULTILINE)
        assert said, path.name
        assert re.search(r"\w.*[.?)]$", said[1]), f"{path.name}: {said[1]}"


class _Requests(HTMLParser):
    """Addresses that a page asks for by itself when it is opened (links that a reader follows are none)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}.get(tag)
        address = given.get("href") if tag == "link" and given.get("rel") != "canonical" else given.get(name or "")
        if address and re.match(r"(?:[a-z]+:)?//", address):
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed")
    built = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return built


def test_no_page_of_the_site_asks_anybody_outside(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert {"index.html", "glossary.html", "command_line.html"} <= {path.name for path in built}
    for page in built:
        asked = _Requests()
        asked.feed(page.read_text(encoding="utf-8"))
        assert not asked.found, f"{page.name}: {asked.found}"
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert not any(re.search(r"url\([\"']?(?:https?:)?//", text) for text in styles)


def test_the_site_opens_and_searches_from_a_folder(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is absent")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((site / "how_to" / "mri.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("Nadeau")
        found = page.locator(".md-search-result__item").first
        found.wait_for(timeout=30_000)
        assert "Nadeau" in page.locator(".md-search-result__list").inner_text()
        browser.close()
    assert not said
    assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:", "about:"))]


# An absolute path of a file; addresses (https://...), relative ones (../docs) and devices (/dev/full) are none.
_ABSOLUTE = re.compile(r"(?<![\w.:/<)\]*'-])/(?!dev/|proc/)[a-z][\w.-]*/[\w./-]*|(?<![\w.])[A-Z]:\\\\?\w|(?<!\w)~/\w")


@pytest.mark.parametrize(
    "text", ["see /srv/data/x.csv", "`/root/.cache`", "C:\\Users", "~/crlm", "(/home/me/x)", "=/tmp/y"]
)
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert _ABSOLUTE.search(text)


def test_no_page_speaks_of_a_machine() -> None:
    for path in [*sources(), REPOSITORY / "mkdocs.yml", REPOSITORY / "CHANGELOG.md"]:
        found = _ABSOLUTE.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found}"
