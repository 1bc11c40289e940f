"""Pages of the reference, written from the program when the site is built: they are never committed, so never stale."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

import typer

import radiomics_crlm
from radiomics_crlm.cli.app import app
from radiomics_crlm.config import ExperimentConfig, load_endpoints
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.resources import resource
from radiomics_crlm.schema import AVAILABILITY, ColumnSpec, TableSchema, load_schema

# What a program may rely on beside the command line; everything else may change.
PUBLIC = (
    "radiomics_crlm.phantom.cohort:simulate_cohort",
    "radiomics_crlm.cohort.clinical:read_cohort_folder",
    "radiomics_crlm.clinical:evaluate",
    "radiomics_crlm.clinical:evaluate_table",
    "radiomics_crlm.study.run:run_experiment",
    "radiomics_crlm.scoring.bundle:load_bundle",
    "radiomics_crlm.study.score:score_folder",
    "radiomics_crlm.provenance.tables:read_table",
)
_MACHINE = {"jobs": "usable cores"}


def on_config(config: Any) -> Any:
    """Put the pages of campaigns, which are written by other programs, into the menu (called by mkdocs)."""
    docs = Path(config.docs_dir)
    written = [*sorted((docs / "reliability").glob("*.md")), *docs.glob("benchmarks.md")]
    menu = next(section["Evidence"] for section in config.nav if "Evidence" in section)
    menu.extend(path.relative_to(docs).as_posix() for path in written)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to a site (called by mkdocs)."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files


def on_post_build(config: Any) -> None:
    """Give pages that are opened from a folder a search index, as a script (called by mkdocs)."""
    folder = Path(config.site_dir) / "search"
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")


def pages() -> dict[str, str]:
    """Markdown of each page, by file name."""
    makers = (command_line, experiment, endpoints, profiles, tables, clinical_columns, python, modules)
    return {f"{make.__name__}.md": "\n\n".join(make()) + "\n" for make in makers}


def command_line() -> Iterator[str]:
    """Every command with its arguments and options."""
    top: Any = typer.main.get_command(app)
    yield from (
        "# Command line",
        f"{_prose(top.help)}\n\n{_prose(app.info.epilog if isinstance(app.info.epilog, str) else '')}",
        "Names of commands and options are checked before any work starts; a wrong one ends with exit code 2. Options "
        "that stand before the command: `--debug` (traceback of an unexpected failure; it may show patient data), "
        "`--install-completion` (completion in the shell), `--help`.",
    )
    for words, command in walk_commands(top):
        yield _one_command(words, command)


def walk_commands(group: Any, before: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Words and object of every command below a group, in the order of the help."""
    for name, command in group.commands.items():
        if getattr(command, "hidden", False):
            continue
        words = (*before, name)
        if hasattr(command, "commands"):
            yield from walk_commands(command, words)
        else:
            yield words, command


def _one_command(words: Sequence[str], command: Any) -> str:
    options = [p for p in command.params if p.name != "help"]
    usage = " ".join(["crlm", *words, *(_usage(p) for p in options if p.required or not _is_option(p))])
    rows = [(f"`{_names(p)}`", _kind(p), _default(p), _prose(p.help or "")) for p in options]
    table = _table(("", "value", "default", ""), rows) if rows else "No options."
    title = " ".join(("crlm", *words))
    head = f"## `{title}` {{ #{'-'.join(words)} }}\n\n{_prose(command.help or '')}"
    return f"{head}\n\n```text\n{usage}\n```\n\n{table}\n\n```text\n{command.epilog}\n```"


def _is_option(param: Any) -> bool:
    return any(name.startswith("-") for name in param.opts)


def _usage(param: Any) -> str:
    text = f"{param.opts[0]} {param.name.upper()}" if _is_option(param) else param.name.upper()
    return text if param.required else f"[{text}]"


def _names(param: Any) -> str:
    if not _is_option(param):
        return str(param.name).upper()
    return " / ".join([*param.opts, *getattr(param, "secondary_opts", [])])


def _kind(param: Any) -> str:
    descriptor = getattr(param, "type_descriptor", None)
    annotation = descriptor.annotation if descriptor is not None else None
    if annotation is None:
        return str(getattr(getattr(param, "type", None), "name", "")).lower()
    choices = getattr(annotation, "__args__", ())
    if get_origin(annotation) is list:
        return f"{_simple(choices[0])}, repeatable" if _is_option(param) else f"{_simple(choices[0])}, several"
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    return _simple(annotation)


def _simple(annotation: Any) -> str:
    name = getattr(annotation, "__name__", str(annotation))
    return {"Path": "path", "str": "text", "int": "whole number", "float": "number", "bool": "on or off"}.get(name, "")


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.name in _MACHINE:
        return _MACHINE[param.name]
    if param.default is None or param.default == "" or isinstance(param.default, bool):
        return {True: "on", False: "off"}.get(param.default, "") if isinstance(param.default, bool) else ""
    return f"`{param.default}`"


def experiment() -> Iterator[str]:
    """Every key of an experiment file."""
    schema = ExperimentConfig.model_json_schema()
    definitions: Mapping[str, Any] = schema["$defs"]
    yield from (
        "# Experiment file",
        "A study is one YAML file, run by [`crlm run`](command_line.md#run). An unknown key, a misspelt value or a "
        "contradiction is refused before anything is computed. How to write one: "
        "[the tutorial](../tutorials/data_scientist.md). Examples: the folder `experiments/`.",
        _keys(schema),
    )
    yield from (_definition("##", name, definitions[name]) for name in _reached(schema, definitions))


def profiles() -> Iterator[str]:
    """Shipped extraction profiles, and every key of one."""
    schema = Profile.model_json_schema()
    shipped = load_profiles()
    chosen = {name: kind for kind, name in shipped.scans.items()}
    rows = [
        (f"`{p.name}`", p.modality, chosen.get(p.name, ""), _prose(p.description)) for p in shipped.profiles.values()
    ]
    yield from (
        "# Extraction profiles",
        "A profile holds every setting that changes a feature value. Features compare only where the hashes of their "
        "settings (`settings_hash`) are equal; scoring checks it.",
        _table(("profile", "for", "default of", ""), rows),
        "Your own: copy `configs/extract.yaml`, change it, and name it with `crlm extract --settings FILE`.",
        f"## Keys\n\n{_prose(schema.get('description', ''))}\n\n{_keys(schema)}",
    )
    yield from (_definition("###", name, body) for name, body in schema["$defs"].items())


def _definition(level: str, name: str, body: Mapping[str, Any]) -> str:
    return f"{level} {name} {{ #{name.lower()} }}\n\n{_prose(body.get('description', ''))}\n\n{_keys(body)}"


def endpoints() -> Iterator[str]:
    """What can be predicted."""
    yield from (
        "# Endpoints",
        "What a model may predict, from `configs/endpoints.yaml`. The model speaks at its *prediction time* and sees "
        "nothing that becomes known later.",
    )
    for name, one in load_endpoints().items():
        rows = [
            ("kind", one.kind.replace("_", " ")),
            ("event", f"`{one.event}`" + (f" ({', '.join(one.event_levels)})" if one.event_levels else "")),
            ("time", f"`{one.months}`, months from the {one.index_date}" if one.months else "known at the horizon"),
            ("competing event", f"`{one.competing}` without the event itself" if one.competing else "none"),
            ("horizon", f"{one.horizon_months:g} months" if one.horizon_months else ""),
            ("prediction time", one.prediction_time),
            ("patients", one.population_title),
            ("fewest events", str(one.min_events)),
            ("higher is", "worse" if one.higher_is_worse else "better"),
        ]
        yield f"## {name}\n\n{one.title}\n\n{_table(('', ''), [row for row in rows if row[1]])}"


def tables() -> Iterator[str]:
    """Every table that crosses a stage, but the clinical one."""
    yield from (
        "# Tables",
        "Each table that one stage hands to another has a schema in `data_schemas/`, checked when it is written and "
        "when it is read. The clinical table has [a page of its own](clinical_columns.md).",
    )
    for schema in schemas():
        if schema.table == "clinical":
            continue
        key = ", ".join(f"`{name}`" for name in schema.key)
        columns = [(f"`{c.name}`", _column_kind(c), _prose(c.description)) for c in schema.columns.values()]
        columns += [(f"`{match.pattern}`", _column_kind(c), _prose(c.description)) for match, c in schema.patterns]
        table = _table(("column", "value", ""), columns)
        yield f"## {schema.table}\n\n{_prose(schema.description)}\n\nOne row per {key}.\n\n{table}"


def schemas() -> list[TableSchema]:
    """All table schemas, by name."""
    return [load_schema(path.stem) for path in sorted(resource("data_schemas").glob("*.yaml"))]


def clinical_columns() -> Iterator[str]:
    """The clinical vocabulary, by the moment at which a value is known."""
    schema = load_schema("clinical")
    yield from (
        "# Clinical columns",
        "The canonical names, units and ranges of `clinical.csv`. Only `patient_id` is required. An empty cell, `NA`, "
        "`unknown` or `-999` means unknown. A header may also be one of the other names. Another unit has to be said: "
        "[Units and bad input](../clinical_rules.md#units-and-bad-input). A column that is not listed here is refused, "
        "or named under `ignore_columns` in `cohort.yaml`.",
        "The moment says when a value becomes known at the earliest. A model sees only what is known when it speaks.",
    )
    for moment in AVAILABILITY:
        here = [c for c in schema.columns.values() if c.available_at == moment]
        rows = [
            (f"`{c.name}`", _column_kind(c), _prose(c.description), ", ".join(c.synonyms), "" if c.predictor else "no")
            for c in here
        ]
        if rows:
            yield f"## {moment}\n\n{_table(('column', 'value', '', 'other names', 'predictor'), rows)}"


def python() -> Iterator[str]:
    """The few functions that other programs may call."""
    yield from (
        "# Python",
        "The command line is the interface. These functions are kept stable for other programs; the rest of the "
        "package may change. What the caller can put right is raised as a `radiomics_crlm.errors.CrlmError`.",
    )
    for path in PUBLIC:
        module, name = path.split(":")
        function = getattr(import_module(module), name)
        signature = re.sub(r"radiomics_crlm\.[a-z_.]+\.", "", f"{name}{inspect.signature(function)}".replace("'", ""))
        head = f"## {name}\n\n`from {module} import {name}`\n\n```python\n{_wrap(signature)}\n```"
        yield f"{head}\n\n{_docstring(function)}"


def modules() -> Iterator[str]:
    """The way through the house: what every module is for."""
    yield from (
        "# Modules",
        "What every module is for, in its own words. Which package may import which: "
        "[architecture](../architecture.md#the-house).",
    )
    root = Path(radiomics_crlm.__path__[0])
    for path in sorted(root.rglob("__init__.py"), key=lambda path: path.parent.relative_to(root).parts):
        name = ".".join(path.parent.relative_to(root.parent).parts)
        rows = [(f"`{one.stem}`", _summary(one)) for one in sorted(path.parent.glob("*.py")) if one != path]
        yield f"## {name}\n\n{_summary(path)}\n\n{_table(('module', ''), rows) if rows else ''}"


def _summary(path: Path) -> str:
    """The docstring of a module without its technical part."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return _prose(text.partition("\n\n")[0])


def _wrap(signature: str) -> str:
    head, _, rest = signature.partition("(")
    inside, _, result = rest.rpartition(") ->")
    pieces = re.split(r",\s(?![^\[]*\])", inside)
    return f"{head}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f") ->{result}"


def _docstring(function: Any) -> str:
    text = inspect.getdoc(function) or ""
    section = re.search(r"^\w+\n---+$", text, re.MULTILINE)
    cut = section.start() if section else len(text)
    blocks = [_prose(text[:cut], keep_paragraphs=True)]
    if section:
        blocks.append(f"```text\n{text[cut:].strip()}\n```")
    return "\n\n".join(blocks)


def _column_kind(spec: ColumnSpec) -> str:
    rule = "text" if spec.type == "string" else spec.rule()
    if spec.type == "enum":
        rule = ", ".join(f"`{level}`" for level in spec.allowed)
    return re.sub(r"from (\S+) to inf", r"from \1", rule) + (", required" if spec.required else "")


def _reached(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Definitions in the order in which a reader meets them."""
    found: list[str] = []

    def look(part: object) -> None:
        if isinstance(part, Mapping):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.append(name)
                look(definitions[name])
            for key, value in part.items():
                if key not in ("$ref", "$defs", "discriminator"):
                    look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(schema["properties"])
    return found


def _keys(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = []
    for name, body in schema.get("properties", {}).items():
        default = "required" if name in required else _shown_default(body)
        rows.append((f"`{name}`", _json_kind(body), default, _prose(body.get("description", ""))))
    return _table(("key", "value", "default", ""), rows)


def _shown_default(body: Mapping[str, Any]) -> str:
    value = body.get("default")
    if value is None or value in ([], {}, ""):
        return ""
    shown = str(value).lower() if isinstance(value, bool) else value
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, list) else f"`{shown}`"


def _json_kind(body: Mapping[str, Any]) -> str:
    if "$ref" in body:
        name = str(body["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in body:
            kinds = [_json_kind(one) for one in body[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in body:
        return f"`{body['const']}`"
    if "enum" in body:
        return ", ".join(f"`{one}`" for one in body["enum"])
    return _container_kind(body) or _number_kind(body)


def _container_kind(body: Mapping[str, Any]) -> str:
    if body.get("type") == "array":
        items = body.get("items") or (body.get("prefixItems") or [{}])[0]
        count = f" of {body['maxItems']}" if "prefixItems" in body else ""
        return f"list{count}: {_json_kind(items)}" if items else "list"
    if body.get("type") == "object":
        inner = body.get("additionalProperties") or next(iter(body.get("patternProperties", {}).values()), None)
        return f"name: {_json_kind(inner)}" if isinstance(inner, Mapping) else "mapping"
    return ""


def _number_kind(body: Mapping[str, Any]) -> str:
    kind = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    text = "date" if body.get("format") == "date" else kind.get(str(body.get("type")), "any")
    low = body.get("minimum", body.get("exclusiveMinimum"))
    high = body.get("maximum", body.get("exclusiveMaximum"))
    if low is not None:
        text += f" above {low:g}" if "exclusiveMinimum" in body else f" from {low:g}"
    if high is not None:
        text += f" below {high:g}" if "exclusiveMaximum" in body else f" to {high:g}"
    return text


def _prose(text: str, *, keep_paragraphs: bool = False) -> str:
    """Running text of a docstring as Markdown."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    joined = ("\n\n" if keep_paragraphs else " ").join(part for part in paragraphs if part)
    code = re.sub(r"``([^`]+)``", r"`\1`", joined)
    code = re.sub(r":(?:func|class|mod):`~?([^`]+)`", r"`\1`", code)
    pieces = code.split("`")
    # Outside of code, signs that Markdown or HTML would take for its own.
    pieces[::2] = [re.sub(r"([*_<>\[\]{}])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
