"""``mlops retrain``: train on what is known of scored rows by now."""

from __future__ import annotations

from typing import Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import JsonOption, PlatformOption, open_platform, print_json, progress
from ml_service.cli.drift import ParametersOption
from ml_service.settings import settings


def retrain(
    if_needed: Annotated[
        bool,
        typer.Option("--if-needed", help="Only where drift, performance or new rows ask for it."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    parameters: ParametersOption = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Make a data version with the labelled rows that were scored, and train on it. The gate decides what comes of it.

    The reason is a parameter of the run and a tag of the model.
    """
    from insurance_claims.parameters import PARAMETERS_FILE, load_parameters
    from ml_service.feedback.retraining import Feedback
    from ml_service.feedback.retraining import retrain as begin
    from ml_service.feedback.rows import collected_place

    chosen = settings()
    feedback = Feedback(
        open_platform(platform),
        collected_place(),
        chosen.dataset_name,
        chosen.model_name,
        load_parameters(parameters or PARAMETERS_FILE).monitoring,
    )
    done = begin(feedback, progress, if_needed=if_needed, dry_run=dry_run)
    if json:
        print_json(done)
    else:
        print(done.decision.describe())
        if done.data is not None and done.run is not None:
            print(f"run {done.run.id}: {done.run.status}, with data version {done.data.version}")
    if done.run is not None and done.run.error is not None:
        raise ClaimsError(f"run {done.run.id} failed: {done.run.error}")
