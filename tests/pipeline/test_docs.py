"""The documentation: its commands are run, what it names exists, and the site builds without a warning."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from docs_pages import (
    DOCS,
    REPOSITORY,
    Page,
    Skipped,
    is_campaign,
    pages,
    read_page,
    sources,
)
from docs_walk import Walk

from radiomics_crlm import clinical
from radiomics_crlm.cli.app import app
from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.schema import load_schema

_PAGES = pages()
_NETWORK = "needs the network"
# What starts a command line.
_PROGRAM = r"(?:\S*/)?(?:crlm|make|python|pip|git|mlflow|dvc|mutmut|nox|docker|podman)"

pytestmark = pytest.mark.xdist_group("docs")


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
    own = {name for p in command.params for name in [*p.opts, *p.secondary_opts]}
    options = own | {"--help", "--debug", "--version"}
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
