"""The root command. Each group imports what it needs when it runs, so that ``mlops --help`` is quick."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

import azure_pipelines_local.cli
from insurance_claims.errors import ClaimsError
from ml_service.cli import (
    arrival,
    azure,
    cost,
    data,
    demo,
    demo_data,
    demo_drift,
    deploy,
    endpoints,
    ingest,
    labels,
    models,
    monitoring,
    retrain,
    rollback,
    rollout,
    runs,
    score,
    tools,
    why,
)
from ml_service.cli.context import print_json

app = typer.Typer(
    name="mlops",
    help="From a data file to a served model, with the same commands on every platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
runs.app.command("why")(why.why)
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(azure.schedules, name="schedules")
app.add_typer(azure.batch, name="batch")
app.command("run")(runs.run)
app.command("publish")(runs.publish)
app.command("deploy")(deploy.deploy)
app.add_typer(rollout.app, name="rollout")
app.command("rollback")(rollback.rollback)
app.command("audit")(rollback.audit)
app.command("smoke-test")(endpoints.smoke_test)
app.command("endpoints")(endpoints.list_endpoints)
app.command("score")(score.score)
app.command("down")(deploy.down)
app.add_typer(monitoring.app, name="monitor")
app.add_typer(labels.app, name="labels")
app.command("retrain")(retrain.retrain)
app.command("ui")(tools.ui)
app.command("doctor")(tools.doctor)
app.command("cost")(cost.cost)
app.command("demo")(demo.demo)
app.command("demo-data")(demo_data.demo_data)
app.command("demo-drift")(demo_drift.demo_drift)
app.add_typer(azure_pipelines_local.cli.app, name="ci")
ingest.app.command("check-arrival")(arrival.check_arrival)
app.add_typer(ingest.app, name="ingest")


def main() -> None:
    """Run a command. Exit code 0: done; 1: failed, with a reason; 2: wrong use; 3: refused by a gate."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except ClaimsError as error:
        if "--json" in sys.argv:
            print_json({"error": str(error)})
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
    except BrokenPipeError:
        # The reader went away, as `head` does.
        sys.stderr.close()
        sys.exit(1)


def _fail(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr, flush=True)
    sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Ends like Ctrl-C: what is under way is ended and recorded.
    raise KeyboardInterrupt
