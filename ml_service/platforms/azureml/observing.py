"""What deployed versions did: observations that scoring servers send to the workspace's Application Insights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import ObservationError, Observations, Window
from ml_service.monitoring.telemetry import Event, Telemetry, TelemetryError
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.login import credential
from ml_service.platforms.azureml.rest import get_resource
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError

_COMPONENTS = "2020-02-02"
_WORKSPACES = "2022-10-01"


class Observing:
    """Telemetry of a workspace's endpoints.

    Args:
        ws: the workspace.
    """

    def __init__(self, ws: AzureWorkspace) -> None:
        self._ws = ws

    @property
    def connection_string(self) -> str:
        """Where a scoring server sends to. Never printed: who has it can send too.

        Raises:
            PlatformError: the workspace has no Application Insights, or this login may not see it.
        """
        return str(self._component["ConnectionString"])

    def connection_string_if_any(self, log: Log, who: str) -> str | None:
        """The same; None, and a line that says why, where there is none: work goes on without telemetry.

        Args:
            log: takes the line.
            who: is to send.
        """
        try:
            return self.connection_string
        except PlatformError as problem:
            log(f"{problem}; {who} will send no telemetry")
            return None

    @cached_property
    def telemetry(self) -> Telemetry:
        """Reads what was sent.

        Raises:
            PlatformError: the workspace has no Application Insights, or it keeps nothing in Log Analytics.
            TelemetryError: the package that reads it is not installed.
        """
        from ml_service.monitoring.log_analytics import azure_telemetry

        target = self._component.get("WorkspaceResourceId")
        if not target:
            raise PlatformError(
                f"the Application Insights of workspace {self._ws.azure.workspace_name} is of the classic kind: move "
                "it to a Log Analytics workspace, in the Azure portal"
            )
        what = "looking up the Log Analytics workspace"
        found = get_resource(self._ws, str(target), _WORKSPACES, what)
        return azure_telemetry(
            credential(self._ws.azure, self._ws.authentication),
            str(found["customerId"]),
            self._component_id,
            str(self._ws.cloud.log_analytics_resource_id),
        )

    def window(self, environment: str, since: datetime) -> Window:
        """What each version did from a moment until now.

        Args:
            environment: its name in settings.
            since: first moment.

        Raises:
            PlatformError: telemetry is not set up.
            TelemetryError: it cannot be read.
        """
        until = datetime.now(UTC)
        # An event's own time is that of its end, so what began in time is among those sent since.
        events = self.telemetry.events(wire.EVENT, since, where={wire.ENVIRONMENT: environment})
        return summed(events, since, until)

    @cached_property
    def _component_id(self) -> str:
        workspace = self._ws.workspace
        with translated("looking up the workspace's Application Insights"):
            found = workspace.get_details().get("applicationInsights")
        if not found:
            raise PlatformError(
                f"workspace {self._ws.azure.workspace_name} has no Application Insights, to which scoring servers "
                "send what they observe: add one in the Azure portal"
            )
        return str(found)

    @cached_property
    def _component(self) -> dict[str, Any]:
        what = "looking up the workspace's Application Insights"
        found: dict[str, Any] = get_resource(self._ws, self._component_id, _COMPONENTS, what)
        return found


def summed(events: Iterable[Event], since: datetime, until: datetime) -> Window:
    """The window that events make up; those that began before it are left out.

    Args:
        events: named ``observations``.
        since: first moment of the window.
        until: last moment.

    Raises:
        TelemetryError: an event is not what scoring servers send.
    """
    versions: defaultdict[int, Observations] = defaultdict(Observations)
    for event in events:
        try:
            if datetime.fromisoformat(event.properties[wire.START]) >= since:
                version = int(event.properties[wire.MODEL_VERSION])
                versions[version] += wire.decode(event.properties)
        except (KeyError, ValueError, TypeError, ObservationError) as error:
            raise TelemetryError(
                f"an event of {event.time:%Y-%m-%d %H:%M:%S} is called {wire.EVENT} but holds none ({error!r}): "
                "nothing but scoring servers may send to this Application Insights under that name"
            ) from None
    return Window(since, until, dict(versions))
