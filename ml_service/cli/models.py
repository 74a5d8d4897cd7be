"""``mlops models``: the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    open_platform,
    print_facts,
    print_json,
    print_table,
    progress,
    who,
)

app = typer.Typer(help="Registered models.", no_args_is_help=True)

VersionArgument = Annotated[int, typer.Argument(metavar="N", help="Version of the model.")]


@app.command("list")
def list_models(platform: PlatformOption = None, json: JsonOption = False) -> None:
    """Versions, newest first, with the champion marked."""
    models = open_platform(platform).models.list()
    if json:
        print_json({"models": list(models)})
    elif not models:
        print("no model yet: `mlops run training` registers one when it passes the gate")
    else:
        print_table(
            "",
            ["version", "champion", "gini", "data", "created", "commit"],
            [
                (
                    m.version,
                    "champion" if m.champion else "",
                    f"{float(m.tags.get('metric_gini', 'nan')):.4f}",
                    f"{m.tags.get('data_name')}:{m.tags.get('data_version')}",
                    m.created[:19],
                    m.tags.get("git_commit", "")[:8],
                )
                for m in models
            ],
        )


@app.command()
def show(
    version: VersionArgument, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """One version with its whole lineage."""
    where = open_platform(platform)
    model = where.models.get(version)
    if json:
        print_json(model)
        return
    print_facts(
        {
            "name": model.name,
            "version": model.version,
            "champion": "yes" if model.champion else "no",
            "created": model.created,
            "files": where.models.fetch(version),
            **dict(sorted(model.tags.items())),
        }
    )


@app.command()
def diff(
    old: Annotated[int, typer.Argument(metavar="A", help="Version of the model.")],
    new: Annotated[int, typer.Argument(metavar="B", help="Version to compare with it.")],
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """What differs between two versions: data, parameters, code, metrics."""
    from ml_service.lineage import difference

    models = open_platform(platform).models
    rows = difference(models.get(old).tags, models.get(new).tags)
    if json:
        print_json({"differences": [{"what": w, "a": a, "b": b} for w, a, b in rows]})
    elif not rows:
        print(f"versions {old} and {new} have the same lineage and metrics")
    else:
        print_table("", ["what", f"version {old}", f"version {new}"], rows)


@app.command()
def sbom(version: VersionArgument, platform: PlatformOption = None) -> None:
    """What a version is made of, as a CycloneDX bill of materials: files, data, packages, checksums."""
    from ml_service.sbom import model_sbom

    models = open_platform(platform).models
    print_json(model_sbom(models.get(version), models.fetch(version)))


@app.command()
def promote(
    version: VersionArgument,
    reason: Annotated[str, typer.Option(help="Why: it is kept in the registry and the audit log.")],
    platform: PlatformOption = None,
) -> None:
    """Make a version the champion by hand. The audit log says who did it."""
    from ml_service.rollout.deployments import promote_by_hand

    if not reason.strip():
        raise typer.BadParameter("--reason must say why")
    model = promote_by_hand(version, who(), reason.strip(), open_platform(platform))
    print(f"{model.name} version {model.version} is the champion")


@app.command()
def reproduce(
    version: VersionArgument, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """Train a version again from its lineage, and confirm that the model's text is the same."""
    from ml_service.reproduce import reproduce as again

    result = again(open_platform(platform), version, progress)
    if json:
        print_json(result)
    else:
        print(result.describe())
    raise typer.Exit(0 if result.same else 1)
