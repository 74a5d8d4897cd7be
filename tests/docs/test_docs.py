"""What the documents mention exists: files, commands with their options, make targets, environment variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ml_service.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
    + list((ROOT / "docs").rglob("*.md"))
)
ENDINGS = (
    ".gz",
    ".parquet",
    ".py",
    ".yml",
    ".yaml",
    ".md",
    ".txt",
    ".toml",
    ".json",
    ".ipynb",
    ".csv",
    ".png",
    ".svg",
)
# Made by running the project, or somebody else's: not part of the repository.
ELSEWHERE = re.compile(
    r"^(\.mlops|\.venv|/|~|https?:|<)|[*{}<>]|^(model|decision|manifest|golden|lineage|run|step)\.json$"
    r"|^(model\.txt|train\.csv|test\.csv|my\.csv|scores\.csv|data\.parquet|model_card\.md|model_version\.json|\.env)$"
    r"|^(dataset|model|evaluation|registration|plots)/|^(application|text)/"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
SHELL = {"", "bash", "sh", "console"}


def source_text() -> str:
    """Everything that may read an environment variable, or set one for a job."""
    files = [ROOT / ".env.example", ROOT / "Makefile", ROOT / "tests" / "conftest.py"]
    for folder in ("insurance_claims", "ml_service", "benchmarks", "environment_setup"):
        files += (ROOT / folder).rglob("*.py")
    files += [*(ROOT / "azure_pipelines_local").rglob("*.py"), *(ROOT / ".pipelines").glob("*.yml")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


SOURCE = source_text()
NAMES = {
    path.name
    for folder in ("insurance_claims", "ml_service", "tests", "docs")
    for path in (ROOT / folder).rglob("*.*")
}
"""Files that may be mentioned by name alone."""
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def problems(text: str, folder: Path) -> list[str]:
    """Everything in a document that does not exist.

    Args:
        text: Markdown.
        folder: what its links are relative to.
    """
    blocks = FENCE.findall(text)
    prose = FENCE.sub("", text)
    inline = INLINE.findall(prose)
    lines = [line for kind, body in blocks if kind in SHELL for line in body.splitlines()]
    found = [*wrong_links(prose, folder), *wrong_paths(inline, folder)]
    for line in [*lines, *inline]:
        found += wrong_commands(line)
    for code in [*(body for _, body in blocks), *inline]:
        found += [f"variable {name}" for name in VARIABLE.findall(code) if name not in SOURCE]
    return found


def wrong_links(text: str, folder: Path) -> Iterator[str]:
    for target in LINK.findall(text):
        if not re.match(r"[a-z]+:", target) and not (folder / target).exists():
            yield f"link {target}"


def wrong_paths(inline: list[str], folder: Path) -> Iterator[str]:
    for word in inline:
        looks_like_one = word.endswith(ENDINGS) or word.endswith("/")
        if " " in word or not looks_like_one or ELSEWHERE.search(word):
            continue
        if (
            re.fullmatch(r"(\.[a-z]+)+", word)
            or word in NAMES
            or (ROOT / word).exists()
            or (folder / word).exists()
        ):
            continue
        yield f"path {word}"


def wrong_commands(line: str) -> Iterator[str]:
    line = re.sub(r"^\s*\$ ", "", line).split(" #")[0].strip()
    if match := re.match(r"make ([a-z-]+)", line):
        if match[1] not in TARGETS:
            yield f"make target {match[1]}"
    if not line.startswith(("mlops ", ".venv/bin/mlops ", "python -m ml_service ")):
        return
    words = shlex.split(line.replace("python -m ml_service", "mlops"))[1:]
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            yield f"command {line}"
            return
        command, words = command.commands[words[0]], words[1:]
    options = {
        name for parameter in command.params for name in parameter.opts + parameter.secondary_opts
    }
    for word in words:
        name = word.split("=")[0].strip("[]")
        if name.startswith("--") and name not in {*options, "--help"}:
            yield f"option {name} of {line}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_mentions_exists(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8"), path.parent) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`docs/nowhere.md`", "path docs/nowhere.md"),
        ("see [here](nowhere.md)", "link nowhere.md"),
        ("`make nothing`", "make target nothing"),
        ("`mlops date list`", "command mlops date list"),
        ("```\n$ mlops data list --nmae x\n```", "option --nmae of mlops data list --nmae x"),
        ("```bash\nMLOPS_HOUSE=x make demo\n```", "variable MLOPS_HOUSE"),
    ],
)
def test_what_does_not_exist_is_found(text: str, problem: str) -> None:
    assert problem in problems(text, ROOT)


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    from ml_service.settings import AzureSettings, Settings

    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE)
    fields = [*Settings.model_fields.values(), *AzureSettings.model_fields.values()]
    assert sorted(names) == sorted(field.alias for field in fields if field.alias)


def test_the_example_shows_the_defaults() -> None:
    from ml_service.settings import AzureSettings

    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    for field in AzureSettings.model_fields.values():
        default = "" if field.is_required() or field.default is None else str(field.default)
        assert shown[str(field.alias)].lower() == default.lower(), field.alias
