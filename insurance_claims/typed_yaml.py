"""A YAML file as typed objects; what does not fit is refused with one line a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from insurance_claims.errors import ClaimsError

_Kind = TypeVar("_Kind")


def load_typed(
    kind: type[_Kind], path: Path, error: type[ClaimsError], meant: str = "valid"
) -> _Kind:
    """Read and check a YAML file.

    Args:
        kind: what it has to hold: a pydantic model, or any type that pydantic knows.
        path: of the file.
        error: what is raised.
        meant: what the file is not, where it does not fit: "valid", "a rollout plan".

    Raises:
        ClaimsError: as ``error``: the file cannot be read, is not YAML, or does not fit.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not YAML: {problem}") from None
    return parse_typed(kind, content, str(path), error, meant)


def parse_typed(
    kind: type[_Kind], content: Any, where: str, error: type[ClaimsError], meant: str = "valid"
) -> _Kind:
    """Check parsed YAML or JSON.

    Args:
        kind: what it has to be: a pydantic model, or any type that pydantic knows.
        content: what was parsed.
        where: the file's name, for messages.
        error: what is raised.
        meant: as for ``load_typed``.

    Raises:
        ClaimsError: as ``error``: names every key that is unknown, missing or wrong.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as problems:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in problems.errors()
        ]
        raise error("\n".join([f"{where} is not {meant}:", *lines])) from None
