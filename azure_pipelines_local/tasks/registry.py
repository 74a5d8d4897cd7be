"""All tasks by name."""

from __future__ import annotations

from azure_pipelines_local.tasks import (
    azure,
    cache,
    files,
    pipeline_artifacts,
    results,
    scripts,
    tools,
)
from azure_pipelines_local.tasks.task import Task
from azure_pipelines_local.tasks.tools import SIMULATED

__all__ = ["SIMULATED", "TASKS", "Task"]

TASKS: dict[str, Task] = {
    task.name.lower(): task
    for module in (azure, cache, files, pipeline_artifacts, results, scripts, tools)
    for task in module.TASKS
}
"""By name in lower case."""
