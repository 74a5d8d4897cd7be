"""The commands. What runs pipelines is imported when a command needs it, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="azure-pipelines-local",
    help="Runs Azure DevOps pipeline YAML on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_FAILED, _WRONG = 1, 2

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A pipeline's YAML.")]
ParameterOption = Annotated[
    list[str] | None, typer.Option("--parameter", metavar="NAME=VALUE", help="A parameter.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A variable, as if set when queueing."),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="The repository. Default: the one FILE is in.")
]
ValuesOption = Annotated[
    Path | None,
    typer.Option("--variables", metavar="FILE", help="Values of variable groups: YAML or .env."),
]
SimulateOption = Annotated[
    list[str] | None,
    typer.Option("--simulate", metavar="TASK", help="Pass a task over that is not known here."),
]


@app.command()
def run(
    file: FileArgument,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Run this stage, and no other unless named.")
    ] = None,
    set_: SetOption = None,
    parameter: ParameterOption = None,
    variables: ValuesOption = None,
    simulate: SimulateOption = None,
    approve: Annotated[bool, typer.Option("--approve", help="Approve every environment.")] = False,
    root: RootOption = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            envvar="AZURE_PIPELINES_LOCAL_WORK",
            help="Where runs, artifacts and caches are kept. Default: .azure-pipelines-local",
        ),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(
            "--resource",
            metavar="ALIAS=RUN",
            help="The run (number or folder) of a pipeline resource.",
        ),
    ] = None,
    connection: Annotated[
        list[str] | None,
        typer.Option(
            "--connection",
            metavar="NAME=FILE",
            help="What steps with this service connection find in their environment: NAME=value lines.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Keep the run under this pipeline name. Default: FILE's.")
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the jobs' folders, to look into them.")
    ] = False,
    self_hosted: Annotated[
        bool,
        typer.Option(
            "--self-hosted",
            help="Keep one folder a pipeline, as an agent of your own does: what no checkout brought stays.",
        ),
    ] = False,
) -> None:
    """Run a pipeline. Exit code 0: succeeded; 1: failed or cancelled; 2: wrong use or YAML."""
    with _reported():
        from azure_pipelines_local.engine import Request, run as run_pipeline
        from azure_pipelines_local.report import Report

        request = Request(
            file=file,
            root=root,
            work=work,
            name=name,
            parameters=_pairs("--parameter", parameter),
            variables=_pairs("--set", set_),
            values=variables,
            stages=stage or (),
            resources=_pairs("--resource", resource),
            simulated=simulate or (),
            connections=_pairs("--connection", connection),
            approve=approve,
            keep=keep,
            self_hosted=self_hosted,
        )
        record = run_pipeline(request, Report())
        succeeded = record.result is not None and record.result.good
    if not succeeded:
        raise typer.Exit(_FAILED)


@app.command("expand")
def expand_file(
    file: FileArgument,
    parameter: ParameterOption = None,
    set_: SetOption = None,
    root: RootOption = None,
) -> None:
    """Print a pipeline without templates and ``${{ }}``."""
    with _reported():
        from azure_pipelines_local.dump import to_yaml
        from azure_pipelines_local.engine import Request, expand_request

        request = Request(
            file=file,
            root=root,
            parameters=_pairs("--parameter", parameter),
            variables=_pairs("--set", set_),
        )
        expanded, _, _ = expand_request(request)
        print(to_yaml(expanded.root), end="")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pipelines.")],
    parameter: ParameterOption = None,
    set_: SetOption = None,
    variables: ValuesOption = None,
    simulate: SimulateOption = None,
    root: RootOption = None,
) -> None:
    """Check pipelines without running them: one line a problem. Exit code 1 where there is one."""
    with _reported():
        from azure_pipelines_local.check import problems_of
        from azure_pipelines_local.engine import Request, load
        from azure_pipelines_local.errors import PipelineError
        from azure_pipelines_local.groups import read_groups

        groups = read_groups(variables)
        queued, given = _pairs("--set", set_), _pairs("--parameter", parameter)
        bad = False
        for file in files:
            request = Request(
                file=file,
                root=root,
                parameters=given,
                variables=queued,
                simulated=simulate or (),
            )
            try:
                loaded = load(request)
                repository = loaded.facts.repository.root
                problems = problems_of(loaded.pipeline, repository, groups, queued)
            except PipelineError as error:
                problems = list(error.problems)
            bad = bad or bool(problems)
            print("\n".join(map(str, problems)) if problems else f"{file}: ok")
    if bad:
        raise typer.Exit(_FAILED)


@contextmanager
def _reported() -> Iterator[None]:
    """A problem with a pipeline becomes its own line and exit code 2; one with the machine, exit code 1."""
    from azure_pipelines_local.errors import PipelineError

    try:
        yield
    except PipelineError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(_WRONG) from None
    except BrokenPipeError:
        # The reader went away, as `head` does.
        sys.stderr.close()
        raise typer.Exit(_FAILED) from None
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(_FAILED) from None


def _pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {text!r}")
        pairs[name] = value
    return pairs
