"""``mlops run`` and ``mlops runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    assignment,
    open_platform,
    print_facts,
    print_json,
    print_table,
    progress,
    seconds,
)
from ml_service.pipeline import Pipeline, find_pipeline, load_pipeline
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.platforms.base import PipelineRun, Platform

app = typer.Typer(help="Runs of pipelines.", no_args_is_help=True)

RunArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Of the run: its beginning is enough, or `latest`.")
]
_REFUSED = 3


def run(
    pipeline: Annotated[str, typer.Argument(help="Name (training) or file of a pipeline.")],
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A pipeline parameter.")
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Run what was published under this version."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Run every step again, reuse nothing.")] = False,
    if_new_data: Annotated[
        bool, typer.Option(help="Do nothing where the champion was trained on the newest data.")
    ] = False,
    fail_if_refused: Annotated[
        bool, typer.Option(help="Exit 3 where the gate refuses the model.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to write: decision, model card, registered version."
        ),
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Run a pipeline to its end, streaming the steps' logs.

    A model that the gate refuses is a result, not a failure: exit code 0, unless --fail-if-refused is given.
    """
    if report and report.exists() and any(report.iterdir()):
        # Before the run, not after it.
        raise ClaimsError(f"{report} exists already: choose another --report, or remove it first")
    chosen = load_pipeline(find_pipeline(pipeline))
    parameters = {**_named(chosen), **dict(assignment(text) for text in values or [])}
    where = open_platform(platform)
    log = progress if json else print
    if if_new_data and (
        known := _known_data(where, parameters.get("data", settings().dataset_name))
    ):
        if json:
            print_json({"run": None, "registration": None})
        log(known)
        return
    what = where.pipelines.published(chosen.name, published) if published else chosen
    result = where.pipelines.run(what, parameters, log, force)
    if result.error is not None:
        raise ClaimsError(
            f"{result.error}\n(run {result.id}; all it printed: mlops runs logs {result.id[:8]})"
        )
    registration = _registration(where, result)
    if registration and report:
        _report(where, result, registration, report)
    if json:
        print_json({"run": result, "registration": registration})
    else:
        print(f"run {result.id[:8]} completed in {seconds(result.seconds)}")
        for line in _verdict(registration):
            print(line)
    if fail_if_refused and registration and not registration["registered"]:
        raise typer.Exit(_REFUSED)


def publish(
    pipeline: Annotated[str, typer.Argument(help="Name (training) or file of a pipeline.")],
    version: Annotated[
        str | None, typer.Option(help="Default: the build id, BUILD_BUILDID.")
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Make a pipeline runnable by name and version, as it is now. The same again changes nothing."""
    version = version or settings().build_id
    if not version:
        raise typer.BadParameter("give --version, or set BUILD_BUILDID: a version names one state")
    chosen = load_pipeline(find_pipeline(pipeline))
    made = open_platform(platform).pipelines.publish(chosen, version, progress)
    if json:
        print_json(made)
    else:
        print(f"{made.name} version {made.version} is published (id {made.id})")


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Runs, newest first."""
    runs = list(open_platform(platform).pipelines.list())[:limit]
    if json:
        print_json({"runs": runs})
    elif not runs:
        print("no runs yet: start one with `mlops run training`")
    else:
        print_table(
            "",
            ["id", "pipeline", "status", "started", "took"],
            [(r.id[:8], r.pipeline, r.status, r.started[:19], seconds(r.seconds)) for r in runs],
        )


@app.command()
def show(run_id: RunArgument, platform: PlatformOption = None, json: JsonOption = False) -> None:
    """One run: its parameters, its steps, why it failed, what came out."""
    where = open_platform(platform)
    found = where.pipelines.get(run_id)
    registration = _registration(where, found)
    if json:
        print_json({"run": found, "registration": registration})
        return
    print_facts(
        {
            "id": found.id,
            "pipeline": found.pipeline,
            "status": found.status,
            "started": found.started[:19],
            "took": seconds(found.seconds),
            "parameters": ", ".join(f"{k}={v}" for k, v in found.parameters.items()),
        }
    )
    if found.error:
        print(f"error: {found.error}")
    print_table(
        "",
        ["step", "status", "took"],
        [(s.name, s.status, seconds(s.seconds)) for s in found.steps],
    )
    for line in _verdict(registration):
        print(line)


@app.command()
def logs(
    run_id: RunArgument,
    step: Annotated[str | None, typer.Option(help="Of this step alone.")] = None,
    platform: PlatformOption = None,
) -> None:
    """What the steps of a run printed."""
    print(open_platform(platform).pipelines.logs(run_id, step))


def _known_data(where: Platform, name: str) -> str | None:
    """Where the champion was trained on the newest version of a data set, a line that says so."""
    champion = where.models.champion()
    newest = where.data.get(name)
    if champion is None or champion.tags.get("data_sha256") != newest.sha256:
        return None
    return (
        f"nothing to do: the champion, version {champion.version}, was trained on {name} version {newest.version}, "
        "which is the newest"
    )


def _named(pipeline: Pipeline) -> dict[str, str]:
    """Names that the environment or .env sets, for the parameters that mean them."""
    given = settings()
    names = {"model_name": given.model_name, "dataset_name": given.dataset_name}
    known = {"model_name": "model_name", "dataset_name": "data"}
    return {
        known[field]: value
        for field, value in names.items()
        if field in given.model_fields_set and known[field] in pipeline.parameters
    }


def _registration(where: Platform, run: PipelineRun) -> dict[str, Any] | None:
    """What the run registered, where it got as far as that and has such a step."""
    if run.error is not None or "register" not in {step.name for step in run.steps}:
        return None
    result: dict[str, Any] = read_json(
        where.pipelines.output(run.id, "register", "registration") / "model_version.json"
    )
    return result


def _report(where: Platform, run: PipelineRun, registration: dict[str, Any], folder: Path) -> None:
    """Write the report, and tell a build agent of it."""
    from ml_service.cli.build_agent import add_build_tag, add_summary, set_output
    from ml_service.report import write_report

    write_report(where, run, registration, folder)
    add_summary(folder / "model_card.md")
    set_output("registered", "true" if registration["registered"] else "false")
    if registration["registered"]:
        add_build_tag("model-registered")


def _verdict(registration: dict[str, Any] | None) -> list[str]:
    if registration is None:
        return []
    if registration["registered"]:
        return [
            f"promoted: {registration['name']} version {registration['version']} is the champion. "
            "Next: mlops deploy staging"
        ]
    return ["refused by the gate, the champion stays as it was:"] + [
        f"  - {reason}" for reason in registration["reasons"]
    ]
