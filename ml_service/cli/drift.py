"""``mlops monitor drift``: what is scored, against what was learnt from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import (
    JsonOption,
    PlatformOption,
    chosen_version,
    open_platform,
    print_json,
    print_table,
    progress,
)
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.feedback.windows import Outcome, WindowReport

DRIFTED = 3
_SHOWN = 10

ParametersOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Limits: section monitoring of a file like insurance_claims/parameters.yml.",
    ),
]


def drift(
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="ISO 8601, UTC. Default: window_hours before --until."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601, UTC. Default: now.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="A number, champion or latest. Default: every version that answered.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report there.")
    ] = None,
    parameters: ParametersOption = None,
    fail_if_drifted: Annotated[
        bool, typer.Option("--fail-if-drifted", help="Exit with 3 where a feature has drifted.")
    ] = False,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a window of scored rows with the data that their model was trained on.

    Also says how good the model was, as far as labels are known, and sends both as telemetry. Exit code 1 where there
    was no traffic in the window.
    """
    from insurance_claims.parameters import PARAMETERS_FILE, load_parameters
    from ml_service.feedback.events import tell
    from ml_service.feedback.labels import read_labels, with_labels
    from ml_service.feedback.report import write_report
    from ml_service.feedback.rows import collected_place, read_all, read_rows
    from ml_service.feedback.windows import References, judge, outcomes

    limits = load_parameters(parameters or PARAMETERS_FILE).monitoring
    now = datetime.now(UTC)
    last = _moment("--until", until) if until else now
    first = _moment("--since", since) if since else last - timedelta(hours=limits.window_hours)
    place, where = collected_place(), open_platform(platform)
    version = chosen_version(where, model) if model else None
    found = read_rows(place, first, last, version)
    for problem in found.unreadable:
        progress(f"left out: {problem}")
    if found.table.empty:
        what = "nothing" if version is None else f"nothing that version {version} answered"
        raise ClaimsError(
            f"{what} was collected from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC: there is nothing to "
            "compare. Rows appear a minute after their request"
        )
    references = References(where)
    reports = [
        judge(found.table, (first, last), references.of(number), limits)
        for number in found.versions
    ]
    labelled = with_labels(read_all(place, ["score"]).table, read_labels(place))
    over_time = outcomes(labelled, references, limits)
    tell(reports, over_time, limits, settings().home)
    if html is not None:
        write_report(html, reports, over_time, now)
    if json:
        print_json({"windows": reports, "outcomes": over_time, "doubles": found.doubles})
    else:
        for report in reports:
            _show(report, limits.minimum_rows)
        _show_outcomes(over_time)
        if html is not None:
            print(f"wrote {html}")
    if fail_if_drifted and any(report.drifted for report in reports):
        raise typer.Exit(DRIFTED)


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} takes a time like 2026-11-21T14:00, not {text!r}"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _show(report: WindowReport, least: int) -> None:
    about = f"version {report.version} against {report.data}: {report.rows:,} rows"
    if not report.features:
        print(
            f"{about}, fewer than the {least:,} that are needed to judge (monitoring.minimum_rows)"
        )
        return
    if not report.drifted:
        print(f"{about}, none of {len(report.features)} features has drifted")
        return
    print(f"{about}, {len(report.drifted)} of {len(report.features)} features have drifted")
    worst = sorted(report.drifted, key=lambda item: -item.psi.value)
    print_table(
        "",
        ["feature", "PSI", "by chance", "why it counts"],
        [
            (f.feature, f"{f.psi.value:.4f}", f"{f.psi.expected:.4f}", "; ".join(f.reasons))
            for f in worst[:_SHOWN]
        ],
    )
    if len(worst) > _SHOWN:
        print(f"and {len(worst) - _SHOWN} more: --html FILE has all")


def _show_outcomes(found: list[Outcome]) -> None:
    if not found:
        return
    print_table(
        "performance, as far as labels say",
        ["model", "from", "rows", "claims", "Gini", "calibration error", "why it falls short"],
        [
            (
                f"version {item.version}",
                f"{item.since:%Y-%m-%d %H:%M}",
                f"{item.performance.rows:,}",
                f"{item.performance.claims:,}",
                f"{item.performance.gini.value:.4f}" if item.performance.gini else "",
                f"{item.performance.calibration_error:.4f}",
                "; ".join(item.shortfalls),
            )
            for item in found
        ],
    )
