"""What was asked for: kept in the new project, so that an upgrade asks for the same."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from bootstrap.errors import BootstrapError, UsageError

ANSWERS_FILE = ".template.json"
CLASSIFICATION = "classification"
PROBLEMS = (CLASSIFICATION, "regression", "forecasting")
_LONGEST_DESCRIPTION = 200


@dataclass(frozen=True)
class Answers:
    """How a project is made.

    Attributes:
        name: of its package.
        description: one line, for its README and its packaging; empty for the template's.
        problem: what is predicted.
        example: whether challenges and the experiment's notebook are kept, which are about a classification.
    """

    name: str
    description: str = ""
    problem: str = CLASSIFICATION
    example: bool = True


def check_answers(answers: Answers) -> None:
    """Refuse what cannot be made; the name is checked elsewhere.

    Raises:
        UsageError: with the reason.
    """
    if answers.problem not in PROBLEMS:
        raise UsageError(f"{answers.problem!r} is no problem: give one of {', '.join(PROBLEMS)}")
    if len(answers.description) > _LONGEST_DESCRIPTION:
        raise UsageError(
            f"the description has {len(answers.description)} characters: give {_LONGEST_DESCRIPTION} at most"
        )
    if not answers.description.isprintable() or re.search(r"[`<>\[\]|\\]", answers.description):
        raise UsageError(
            "the description has to be one line of plain text, without any of ` < > [ ] | \\"
        )


def to_json(answers: Answers, commit: str) -> bytes:
    """What ``ANSWERS_FILE`` holds: the answers, and the template's commit."""
    return (json.dumps({"commit": commit, **asdict(answers)}, indent=2) + "\n").encode()


def from_json(text: str) -> Answers:
    """The answers that a project was made with.

    Raises:
        BootstrapError: the text is not what ``to_json`` writes.
    """
    try:
        content = json.loads(text)
        content.pop("commit")
        answers = Answers(**content)
        whole = {"name": str, "description": str, "problem": str, "example": bool}
        right = all(type(getattr(answers, key)) is kind for key, kind in whole.items())
    except (ValueError, TypeError, AttributeError, KeyError):
        right = False
    if not right:
        raise BootstrapError(f"{ANSWERS_FILE} is not what bootstrap wrote: restore it with git")
    return answers
