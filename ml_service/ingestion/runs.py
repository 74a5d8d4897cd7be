"""Runs of the ingestion pipeline, and runs that were started before a crash, found again."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ml_service.platforms.base import PipelineRun, Platform, RunStatus

STEP, OUTPUT = "process", "ingested"
"""Of insurance_claims/pipelines/ingestion.yml: what every batch leaves."""

_POLL_SECONDS = 10.0


def earlier_run(
    platform: Platform, pipeline: str, parameters: Mapping[str, str]
) -> PipelineRun | None:
    """The newest completed run of a pipeline with these parameters; None where there is none.

    Where one is still under way, as on a cluster that does not care who started it, its end is waited for.

    Args:
        platform: that it ran on.
        pipeline: name of the pipeline.
        parameters: that it had, among others.
    """
    for run in platform.pipelines.list():
        if run.pipeline != pipeline or not parameters.items() <= run.parameters.items():
            continue
        while run.status in (RunStatus.RUNNING, RunStatus.WAITING):
            time.sleep(_POLL_SECONDS)
            run = platform.pipelines.get(run.id)
        if run.status is RunStatus.COMPLETED:
            return run
    return None
