"""``mlops schedules`` and ``mlops batch``: what Azure Machine Learning does by itself, or on many nodes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError
from insurance_claims.files import whole_folder
from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    assignment,
    open_platform,
    print_json,
    print_table,
    progress,
    seconds,
)
from ml_service.pipeline import find_pipeline, load_pipeline

if TYPE_CHECKING:
    from ml_service.platforms.azureml.platform import AzureMLPlatform

schedules = typer.Typer(help="Pipelines that run by themselves (azureml).", no_args_is_help=True)
batch = typer.Typer(help="Batch scoring on the nodes of a cluster (azureml).", no_args_is_help=True)

VersionOption = Annotated[str, typer.Option(help="What was published under this version.")]
ValuesOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A pipeline parameter.")
]


@schedules.command()
def add(
    pipeline: Annotated[str, typer.Argument(help="Name (training) or file of a pipeline.")],
    version: VersionOption,
    cron: Annotated[
        str | None, typer.Option(help='When, UTC: "0 3 * * 1" is Mondays at three.')
    ] = None,
    on_new_data: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Of the datastore: each new file in it starts a run."),
    ] = None,
    values: ValuesOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Let a published pipeline run by the clock, or when files arrive."""
    where = _azureml(platform, "a local run is scheduled with your own cron and `mlops run`")
    published = where.pipelines.published(load_pipeline(find_pipeline(pipeline)).name, version)
    made = where.schedules.schedule(
        published,
        progress,
        cron=cron,
        on_new_data=on_new_data,
        parameters=dict(assignment(text) for text in values or []),
    )
    if json:
        print_json(made)
    else:
        print(f"schedule {made.id}: {made.name}")


@schedules.command("list")
def list_schedules(platform: PlatformOption = None, json: JsonOption = False) -> None:
    """Schedules, newest first."""
    found = _azureml(platform, "the local platform has no schedules").schedules.list()
    if json:
        print_json({"schedules": list(found)})
    elif not found:
        print("nothing is scheduled: `mlops schedules add` does it")
    else:
        rows = [(item.id, "active" if item.active else "off", item.name) for item in found]
        print_table("", ["id", "state", "what runs, and when"], rows)


@schedules.command()
def remove(
    schedule_id: Annotated[str, typer.Argument(metavar="ID", help="Of the schedule.")],
    platform: PlatformOption = None,
) -> None:
    """Stop a schedule; runs that it has begun go on."""
    _azureml(platform, "the local platform has no schedules").schedules.disable(
        schedule_id, progress
    )


@batch.command()
def publish(
    version: VersionOption, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """Make batch scoring runnable under a version. The same again changes nothing."""
    made = _azureml(platform, _LOCAL_BATCH).batch.publish(version, progress)
    if json:
        print_json(made)
    else:
        print(f"{made.name} version {made.version} is published (id {made.id})")


@batch.command()
def run(
    version: VersionOption,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write: scores.csv (id, score, version).")
    ],
    values: ValuesOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Score a data version with what was published, and fetch the scores."""
    from ml_service.platforms.azureml.batch import OUTPUT, PIPELINE, STEP

    if output.exists() and any(output.iterdir()):
        raise ClaimsError(f"{output} exists already: choose another --output, or remove it first")
    where = _azureml(platform, _LOCAL_BATCH)
    published = where.pipelines.published(PIPELINE, version)
    parameters = dict(assignment(text) for text in values or [])
    result = where.pipelines.run(published, parameters, progress)
    if result.error is not None:
        raise ClaimsError(f"{result.error}\n(run {result.id})")
    with whole_folder(output) as aside:
        shutil.copytree(where.pipelines.output(result.id, STEP, OUTPUT), aside, dirs_exist_ok=True)
    if json:
        print_json({"run": result, "output": output})
    else:
        print(f"run {result.id[:8]} completed in {seconds(result.seconds)}: scores in {output}")


_LOCAL_BATCH = "on this machine, `mlops score INPUT --output DIR` scores any number of rows"


def _azureml(name: str | None, instead: str) -> AzureMLPlatform:
    """The platform azureml.

    Raises:
        ClaimsError: another platform is chosen; says what to do there instead.
    """
    where = open_platform(name)
    if where.name != "azureml":
        raise ClaimsError(f"only the platform azureml does this (--platform azureml): {instead}")
    from ml_service.platforms.azureml.platform import AzureMLPlatform

    assert isinstance(where, AzureMLPlatform)
    return where
