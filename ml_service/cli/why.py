"""``mlops runs why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import JsonOption, PlatformOption, open_platform, print_json
from ml_service.cli.runs import RunArgument
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.monitoring.telemetry import Telemetry
    from ml_service.platforms.azureml.platform import AzureMLPlatform
    from ml_service.platforms.base import Platform


def why(run_id: RunArgument, platform: PlatformOption = None, json: JsonOption = False) -> None:
    """Why a run failed, or its model was refused: the likely cause, and what it rests on.

    Reads what the platform and its telemetry keep, so it may be asked on any machine; commits come from this clone.
    """
    from ml_service.why.evidence import gather
    from ml_service.why.report import describe
    from ml_service.why.rules import verdict

    where = open_platform(platform)
    telemetry, missing = _telemetry(where)
    evidence = gather(where, telemetry, run_id)
    likely = verdict(evidence)
    if json:
        print_json({"most_likely": likely, "telemetry": missing or "read", "evidence": evidence})
        return
    print(describe(evidence, likely))
    if missing:
        print(f"\ntelemetry could not be read: {missing}")


def _telemetry(where: Platform) -> tuple[Telemetry | None, str | None]:
    """Reads telemetry of a platform, or why it cannot be read."""
    if where.name != "azureml":
        from ml_service.monitoring.connection import folder_of
        from ml_service.monitoring.store import Store

        return Store(folder_of(settings().home)), None
    from ml_service.platforms.azureml.observing import Observing

    try:
        return Observing(cast("AzureMLPlatform", where).workspace).telemetry, None
    except ClaimsError as error:
        return None, str(error)
