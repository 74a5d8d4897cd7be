"""A YAML file as typed objects; what does not fit is refused with one line a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from insurance_claims.errors import ClaimsError

_Kind = TypeVar("_Kind")

_MOST_CHARACTERS = 1_000_000
_DEEPEST = 50


class PlainLoader(yaml.SafeLoader):
    """YAML as plain values, no larger in memory than it is as text.

    Refused with a ``yaml.YAMLError``: aliases, for a few lines of them stand for gigabytes; tags; text that is longer
    or nested deeper than a file that people write.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise yaml.MarkedYAMLError(problem=f"longer than {_MOST_CHARACTERS:,} characters")
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose the next node, unless it is one that is refused."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        problem = None
        if isinstance(event, yaml.AliasEvent):
            problem = "aliases are not read: write the value out"
        elif getattr(event, "tag", None) is not None:
            problem = f"tags are not read: leave {event.tag} out"
        elif self._depth == _DEEPEST:
            problem = f"nested more than {_DEEPEST} deep"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file, or as much of it as ``PlainLoader`` needs to refuse it.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is not UTF-8.
    """
    with path.open(encoding="utf-8") as file:
        return file.read(_MOST_CHARACTERS + 1)


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
        content = yaml.load(read_yaml_text(path), Loader=PlainLoader)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None
    # A number of too many digits and a day that is in no calendar are ValueErrors.
    except (yaml.YAMLError, ValueError) as problem:
        raise error(f"{path} is not YAML: {' '.join(str(problem).split())}") from None
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
