"""Walking a rollout to its end, and saying how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import progress

if TYPE_CHECKING:
    from ml_service.platforms.base import Platform
    from ml_service.rollout.state import Rollout


def walk(where: Platform, environment: str) -> Rollout:
    """Look again and again until the rollout ends, with a line at every look.

    Raises:
        ClaimsError: it cannot be walked on, or somebody interrupts; it is active still.
    """
    from ml_service.rollout import driver
    from ml_service.rollout.control import control_of

    try:
        return driver.run(
            environment, control_of(where), where.endpoints.observed, time.sleep, progress
        )
    except KeyboardInterrupt:
        raise ClaimsError(
            f"interrupted: nobody looks at the rollout in {environment} now, and its traffic stays split; "
            f"{driver.what_to_do(environment)}"
        ) from None


def end(rollout: Rollout) -> None:
    """Say why a rollout did not promote its canary, and exit 1; one that is active or was compared is no failure.

    Raises:
        typer.Exit: with 1.
    """
    from ml_service.rollout.state import Outcome

    if not rollout.active and rollout.outcome in (Outcome.ROLLED_BACK, Outcome.ABORTED):
        progress(
            f"error: version {rollout.canary} was not promoted in {rollout.environment}: {rollout.outcome}: "
            f"{rollout.reason}"
        )
        raise typer.Exit(1)


def summary(rollout: Rollout) -> dict[str, Any]:
    """A rollout as JSON types, without the histograms of what was observed."""
    from ml_service.rollout.state import to_json

    content = to_json(rollout)
    del content["window"], content["reference"]
    return {**content, "active": rollout.active}
