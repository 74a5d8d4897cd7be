"""Schedules: a published pipeline that runs by the clock, or when files arrive on the datastore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml_service.platforms.azureml.cron import Rule, parse_cron
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.pipelines import AzurePipelines
from ml_service.platforms.azureml.silence import silent
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError, PublishedPipeline

_POLL_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule.

    Attributes:
        id: in the workspace.
        name: pipeline, version and rule.
        pipeline_id: of the published pipeline.
        active: whether it runs.
    """

    id: str
    name: str
    pipeline_id: str
    active: bool


class AzureSchedules:
    """The schedules of a workspace.

    A schedule's parameters are fixed when it is made, a data version among them: ``latest`` is the one that is the
    newest then. To train on what comes later, schedule anew when a version was added.

    Args:
        ws: the workspace.
        pipelines: of the same workspace.
    """

    def __init__(self, ws: AzureWorkspace, pipelines: AzurePipelines) -> None:
        self._ws = ws
        self._pipelines = pipelines

    def schedule(
        self,
        published: PublishedPipeline,
        log: Log,
        *,
        cron: str | None = None,
        on_new_data: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Schedule:
        """Let a published pipeline run by itself. The same schedule again changes nothing.

        Args:
            published: what runs.
            log: gets the progress.
            cron: when, UTC; what Azure has nothing like is refused.
            on_new_data: a folder of the datastore: each new or changed file in it, but not below it, starts a run.
            parameters: of the pipeline.

        Raises:
            PlatformError: not exactly one of ``cron`` and ``on_new_data`` is given, or Azure cannot do it.
        """
        if (cron is None) == (on_new_data is None):
            raise PlatformError("a schedule needs either a cron expression or a folder to watch")
        rule = parse_cron(cron, datetime.now(UTC).replace(tzinfo=None)) if cron else None
        values = self._pipelines.assignments(published, parameters or {})
        given = "".join(f" {key}={value}" for key, value in sorted((parameters or {}).items()))
        name = (
            f"{published.name} {published.version}: {cron or f'new data in {on_new_data}'}{given}"
        )
        for known in self.list():
            if known.active and known.name == name:
                log(f"{name} is scheduled already")
                return known
        made = self._create(name, published, rule, on_new_data, values)
        log(f"scheduled {name}")
        return made

    def list(self) -> Sequence[Schedule]:
        """All schedules, those that were disabled as well, newest first."""
        from azureml.pipeline.core import Schedule as AzureSchedule

        workspace = self._ws.workspace
        with translated("listing the schedules"), silent():
            return [_schedule(item) for item in AzureSchedule.list(workspace, active_only=False)]

    def disable(self, schedule_id: str, log: Log) -> None:
        """Stop a schedule; runs that it has begun go on.

        Raises:
            PlatformError: there is none with this id.
        """
        from azureml.pipeline.core import Schedule as AzureSchedule

        workspace = self._ws.workspace
        with translated(f"disabling schedule {schedule_id}"), silent():
            found = AzureSchedule.get(workspace, schedule_id)
            found.disable()
        log(f"disabled {found.name}")

    def _create(
        self,
        name: str,
        published: PublishedPipeline,
        rule: Rule | None,
        folder: str | None,
        values: Mapping[str, Any],
    ) -> Schedule:
        from azureml.pipeline.core import Schedule as AzureSchedule

        workspace, datastore = self._ws.workspace, self._ws.datastore
        options: dict[str, Any] = (
            {"recurrence": _recurrence(rule)}
            if rule
            else {
                "datastore": datastore,
                "path_on_datastore": folder,
                "polling_interval": _POLL_MINUTES,
            }
        )
        with translated(f"scheduling {name}"), silent():
            made = AzureSchedule.create(
                workspace,
                name=name,
                pipeline_id=published.id,
                experiment_name=self._ws.settings.experiment_name,
                pipeline_parameters=dict(values),
                description=f"{published.name} {published.version}",
                **options,
            )
        return _schedule(made)


def _recurrence(rule: Rule) -> Any:
    from azureml.pipeline.core import ScheduleRecurrence, TimeZone

    return ScheduleRecurrence(
        frequency=rule.frequency,
        interval=rule.interval,
        # Without a start, Azure runs the pipeline once at this moment.
        start_time=rule.start,
        time_zone=TimeZone.UTC,
        hours=list(rule.hours) if rule.hours else None,
        minutes=list(rule.minutes) if rule.minutes else None,
        week_days=list(rule.week_days) if rule.week_days else None,
    )


def _schedule(item: Any) -> Schedule:
    return Schedule(str(item.id), str(item.name), str(item.pipeline_id), item.status == "Active")
