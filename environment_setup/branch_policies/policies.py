"""The policies of a branch, typed: ``policies.yml``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from insurance_claims.errors import ClaimsError
from insurance_claims.typed_yaml import load_typed

FILE = Path(__file__).with_name("policies.yml")
_Name = Annotated[str, Field(min_length=1)]
_Path = Annotated[str, Field(pattern=r"^/[^!;\s]+$")]


class PolicyError(ClaimsError):
    """Policies cannot be read, or cannot be brought to where they are to hold."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reviewers(_Strict):
    """How many people have to approve besides the author, and whether a push takes approvals back."""

    minimum: int = Field(ge=1, le=10)
    reset_on_push: bool


class Validation(_Strict):
    """What has to pass.

    Attributes:
        pipeline: name of the pipeline in Azure DevOps.
        check: name of the job on GitHub; None: GitHub does not wait for it.
        paths: only where one of these has changed (Azure DevOps); empty: always.
        valid_hours: how long a result holds while the branch moves on.
    """

    pipeline: _Name
    check: _Name | None = None
    paths: list[_Path] = []
    valid_hours: int = Field(12, ge=1)


class Owners(_Strict):
    """A team that has to approve where one of these paths has changed."""

    team: _Name
    paths: list[_Path] = Field(min_length=1)


class Policies(_Strict):
    """Everything that holds for one branch."""

    branch: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    reviewers: Reviewers
    comments_resolved: bool
    linear_history: bool
    validations: list[Validation] = Field(min_length=1)
    owners: list[Owners]


@dataclass(frozen=True, slots=True)
class Step:
    """One policy, and what it takes to have it.

    Attributes:
        what: for a person to read.
        action: what has to be done.
        differences: of an update, one a line.
        apply: does it.
    """

    what: str
    action: Literal["nothing", "create", "update"]
    differences: tuple[str, ...]
    apply: Callable[[], object]


def load_policies(file: Path = FILE) -> Policies:
    """Read the policies.

    Raises:
        PolicyError: names every key that is unknown, missing or wrong.
    """
    return load_typed(Policies, file, PolicyError, "a list of branch policies")


def differences(wanted: object, there: object, place: str = "") -> list[str]:
    """What is wanted and is not there as wanted; what is there besides does not count.

    Args:
        wanted: parsed JSON.
        there: parsed JSON.
        place: of both, for messages.
    """
    if isinstance(wanted, dict) and isinstance(there, dict):
        return [
            line
            for key, value in wanted.items()
            for line in differences(value, there.get(key), f"{place}.{key}".lstrip("."))
        ]
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [
            line
            for number, (one, other) in enumerate(zip(wanted, there, strict=True))
            for line in differences(one, other, f"{place}[{number}]")
        ]
    return [] if wanted == there else [f"{place}: {there!r} -> {wanted!r}"]
