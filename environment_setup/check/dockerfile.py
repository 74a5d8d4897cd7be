"""Reads Dockerfiles, and says where one does not keep the house's rules.

The rules: a pinned base, packages from the lock alone and with their hashes, a user other than root, and a build
context that is a list of what is allowed in.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PINNED = re.compile(r"^[\w./-]+(:\d+\.\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})$")
_INSTALL = re.compile(r"\b(?:pip|pip3|uv|conda|npm)\b[^&|;]*\binstall\b[^&|;]*")
_REQUIREMENT = ("--requirement", "-r")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword in capitals, its text with continued lines joined, and where it begins."""

    keyword: str
    text: str
    line: int


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, without comments."""
    found = []
    joined: list[str] = []
    begins = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        begins = begins if joined else number
        joined.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            keyword, _, rest = " ".join(joined).partition(" ")
            found.append(Instruction(keyword.upper(), rest.strip(), begins))
            joined = []
    return found


def last_stage(found: Sequence[Instruction]) -> list[Instruction]:
    """The instructions of the stage that becomes the image."""
    begins = [place for place, item in enumerate(found) if item.keyword == "FROM"]
    return list(found[begins[-1] :]) if begins else []


def command(text: str) -> list[str]:
    """The words of a CMD, or of a HEALTHCHECK's, in its JSON form."""
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def environment(stage: Sequence[Instruction]) -> dict[str, str]:
    """What the ENV instructions of a stage set. References to other variables stay as they are."""
    pairs = [pair for item in stage if item.keyword == "ENV" for pair in shlex.split(item.text)]
    return dict(pair.split("=", 1) for pair in pairs)


def copies(stage: Sequence[Instruction]) -> Iterator[tuple[list[str], str]]:
    """Sources and target of each COPY from the build context."""
    for item in stage:
        if item.keyword == "COPY" and "--from=" not in item.text:
            *sources, target = [word for word in item.text.split() if not word.startswith("--")]
            yield sources, target


def problems(file: Path, context: Path | None) -> list[str]:
    """What is wrong with a Dockerfile, ``FILE:LINE: MESSAGE``.

    Args:
        file: the Dockerfile; its ignore file is beside it.
        context: the folder that it is built from; None where that is not in the repository.
    """
    found = instructions(file.read_text(encoding="utf-8"))
    wrong = [
        *_base_problems(found),
        *_install_problems(found),
        *_user_problems(found),
        *_copy_problems(found, file, context),
    ]
    return [f"{file.name}:{line}: {message}" for line, message in wrong]


def _base_problems(found: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    arguments = dict(
        item.text.split("=", 1) for item in found if item.keyword == "ARG" and "=" in item.text
    )
    required = {item.text for item in found if item.keyword == "ARG" and "=" not in item.text}
    stages = {item.text.split(" AS ")[1] for item in found if " AS " in item.text}
    for item in found:
        if item.keyword != "FROM":
            continue
        base = item.text.split()[0]
        if variable := re.fullmatch(r"\$\{(\w+)\}", base):
            if variable[1] in required:
                continue
            base = arguments.get(variable[1], "")
        if base not in stages and not _PINNED.match(base):
            yield item.line, f"base {base!r} is not pinned: name an exact version, or a digest"


def _install_problems(found: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    targets = {target for _, target in copies(found)}
    for item in found:
        if item.keyword == "ADD":
            yield item.line, "ADD fetches and unpacks: use COPY"
        if item.keyword != "RUN":
            continue
        for install in _INSTALL.findall(item.text):
            words = shlex.split(install)
            words = words[words.index("install") + 1 :]
            locks = {
                words[place + 1] for place, word in enumerate(words[:-1]) if word in _REQUIREMENT
            }
            options_with_value = {"--python", "--only-binary", *_REQUIREMENT}
            loose = [
                word
                for place, word in enumerate(words)
                if not word.startswith("-")
                and (place == 0 or words[place - 1] not in options_with_value)
            ]
            if loose or not locks:
                yield (
                    item.line,
                    f"installs what no lock holds: {' '.join(loose) or install.strip()}",
                )
            if "--require-hashes" not in words:
                yield item.line, "installs without --require-hashes"
            for lock in locks:
                if not any(_copied_to(lock, target) for target in targets):
                    yield item.line, f"{lock} is not copied from the repository"


def _copied_to(path: str, target: str) -> bool:
    return path == target or (target.endswith("/") and path.startswith(target))


def _user_problems(found: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    users = [item for item in last_stage(found) if item.keyword == "USER"]
    if not users:
        yield found[-1].line if found else 1, "runs as root: end with USER and a number"
    elif not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1].text):
        # Kubernetes cannot see that a name is not root's.
        yield users[-1].line, f"USER {users[-1].text} is not the number of a user other than root"


def _copy_problems(
    found: Sequence[Instruction], file: Path, context: Path | None
) -> Iterator[tuple[int, str]]:
    ignore = file.with_name(f"{file.name}.dockerignore")
    lines = ignore.read_text(encoding="utf-8").split() if ignore.is_file() else []
    if lines[:1] != ["*"]:
        yield 1, f"{ignore.name} has to begin with *, and then list what is let in"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = set()
    for item in found:
        for sources, _ in copies([item]):
            copied.update(sources)
            for source in sources:
                if source not in allowed:
                    yield item.line, f"{source} is not let in by {ignore.name}"
                if context is not None and not (context / source).exists():
                    yield item.line, f"{source} does not exist in {context}"
    for path in sorted(allowed - copied):
        yield 1, f"{ignore.name} lets {path} in, which is not copied"
