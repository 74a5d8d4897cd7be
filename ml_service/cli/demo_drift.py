"""``mlops demo-drift``: the population moves, and a model that fits it comes into production by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_whole
from ml_service.cli.context import open_platform
from ml_service.cli.drift import DRIFTED
from ml_service.cli.shown import run_shown
from ml_service.settings import ALERTS_FILE, settings

if TYPE_CHECKING:
    from ml_service.feedback.traffic import Traffic

_SHIFT = 1.0
_REQUESTS = 100
"""Of a window, however short it is. Five windows of other customers are so many more rows than the first model learns
from that data with both hardly differ from them alone."""
_LOOK_SECONDS = 0.2
_STALLED_SECONDS = 60.0
_ALERT_LOOKS = 30

_PLAN = """
look_every_seconds: 1
start_minutes: 2
keep_warm_minutes: 1
alpha: 0.2
stages:
  - {share: 50, least_requests: 60, least_minutes: 0.05, most_minutes: 3}
  - {share: 100, least_requests: 60, least_minutes: 0, most_minutes: 3}
limits:  # the new version is meant to score otherwise: only whether it answers is compared
  {error_rate: 0.5, latency_ratio: {}, score_psi: null, score_ks: null, score_mean: null, calibration: null}
"""


def demo_drift(
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG. Default: below MLOPS_HOME.")
    ] = None,
    rows: Annotated[
        int,
        typer.Option(min=1000, max=30_000, help="Synthetic rows that the first model learns from."),
    ] = 30_000,
    window: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=60,
            help="Length of a window: a day in earnest. Nine of them pass at least, each with 100 requests.",
        ),
    ] = 15.0,
) -> None:
    """The population moves: an alert, labels, a retraining, the gate, a canary, and a model that fits again.

    Begins anew each time, with a state of its own below MLOPS_HOME, and stops at its end what it started. Exit code 0
    only where the model recovered.
    """
    home = settings().home.absolute() / "demo-drift"
    picture = picture or home / "demo-drift.png"
    with _own_state(home, window) as marks:
        _train_and_serve(home, rows)
        _loop(home, window, marks)
        # All labels count, whatever window is looked at.
        outcomes = _judged("--model", "champion", "--since", marks.times["promoted"].isoformat())
        _draw(picture, outcomes["outcomes"], marks)
    before, moved, after = _ginis(outcomes["outcomes"], marks)
    print(
        f"\nGini of version 1 before: {before:.3f}; after the population moved: {moved:.3f}; of version 2: {after:.3f}"
        f"\nthe picture: {picture}"
    )
    if after <= moved:
        raise ClaimsError("the model did not recover: version 2 is no better than version 1 was")
    print("\nRecovered: production is answered by a model that fits the customers of today.")


@dataclass
class _Marks:
    """What happened when."""

    times: dict[str, datetime] = field(default_factory=dict)

    def set(self, what: str) -> None:
        self.times[what] = datetime.now(UTC)


@contextmanager
def _own_state(home: Path, window: float) -> Iterator[_Marks]:
    """A state of the demonstration's own, in the environment of every command; nothing of it runs afterwards."""
    before = dict(os.environ)
    os.environ |= {
        "MLOPS_HOME": str(home),
        "MLOPS_PLATFORM": "local",
        "MLOPS_COLLECT": str(home / "collected"),
        "MLOPS_COLLECT_SHARE": "1",
        "MLOPS_COLLECT_OMIT": "",
        "MLOPS_COLLECT_SECONDS": "1",
        "MLOPS_ROLLOUT_PLAN": str(home / "rollout.yml"),
        "MLOPS_ALERTS": str(ALERTS_FILE),
    }
    # Where alerts look, and nowhere else.
    os.environ.pop("APPLICATIONINSIGHTS_CONNECTION_STRING", None)
    settings.cache_clear()
    try:
        if home.exists():
            run_shown("down")
            shutil.rmtree(home)
        write_whole(home / "rollout.yml", _PLAN)
        _write_parameters(home / "parameters.yml", window)
        yield _Marks()
    finally:
        run_shown("down")
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def _write_parameters(file: Path, window: float) -> None:
    import yaml

    from insurance_claims.parameters import load_parameters

    content = load_parameters().model_dump(mode="json")
    content["monitoring"] |= {"window_hours": window / 3600, "cooldown_hours": 0.1}
    write_whole(file, yaml.safe_dump(content))


def _train_and_serve(home: Path, rows: int) -> None:
    file = str(home / "claims.parquet")
    run_shown("data", "synthesize", "--rows", str(rows), "--seed", "1", file)
    run_shown("data", "add", file)
    run_shown("run", "training")
    if open_platform("local").models.champion() is None:
        raise ClaimsError(
            f"the gate refused the first model, of {rows:,} rows: its reasons are above; more --rows are needed"
        )
    run_shown("deploy", "production")


def _loop(home: Path, window: float, marks: _Marks) -> None:
    from ml_service.feedback.traffic import Traffic

    where = open_platform("local")
    endpoint = where.endpoints.get("production")
    if endpoint is None:
        raise ClaimsError("nothing answers in production: its reason is above")
    limits = ("--parameters", str(home / "parameters.yml"))
    traffic = Traffic(endpoint, window / _REQUESTS)
    traffic.start()
    try:
        _wait(traffic, 2 * _REQUESTS, "customers ask, as those of the training data")
        run_shown("monitor", "drift", *limits)
        marks.set("other customers")
        first, traffic.shift = traffic.answered, _SHIFT
        _wait(traffic, first + 2 * _REQUESTS, "other customers ask")
        report = str(home / "drift.html")
        run_shown(
            *("monitor", "drift", *limits), "--html", report, "--fail-if-drifted", code=DRIFTED
        )
        _wait_for_alert()
        marks.set("alert")
        known = first + 5 * _REQUESTS
        _wait(traffic, known, "other customers go on asking")
        _add_labels(home / "labels.csv", traffic, slice(first, known))
        run_shown("retrain", "--if-needed", *limits)
        champion = where.models.champion()
        if champion is None or champion.version == 1:
            raise ClaimsError("the gate refused the retrained model: its reasons are above")
        marks.set("retrained")
        run_shown("deploy", "production")
        marks.set("promoted")
        fits = traffic.answered
        _wait(traffic, fits + 2 * _REQUESTS, "they are answered by the new version")
        traffic.stop()
        # The last file of collected rows.
        time.sleep(3)
        since = ("--since", marks.times["promoted"].isoformat())
        run_shown("monitor", "drift", "--model", "champion", *since, *limits, "--fail-if-drifted")
        # However long training took: five windows' worth of what was asked meanwhile.
        some = slice(known, fits, 1 + (fits - known) // (5 * _REQUESTS))
        _add_labels(home / "labels.csv", traffic, slice(first), some, slice(fits, None))
        marks.set("recovered")
    finally:
        traffic.stop()
    print(f"{traffic.answered:,} requests were answered, {traffic.failed} were not")


def _add_labels(file: Path, traffic: Traffic, *parts: slice) -> None:
    print(f"\nclaims are known now of {traffic.write_labels(file, *parts):,} rows")
    run_shown("labels", "add", str(file))


def _wait(traffic: Traffic, answered: int, what: str) -> None:
    """Wait until so many requests were answered."""
    print(f"\n{what}", flush=True)
    seen, since = traffic.answered, time.monotonic()
    while traffic.answered < answered:
        time.sleep(_LOOK_SECONDS)
        if traffic.answered > seen:
            seen, since = traffic.answered, time.monotonic()
        elif time.monotonic() - since > _STALLED_SECONDS:
            raise ClaimsError("no request is answered any more: see `mlops endpoints`")


def _wait_for_alert() -> None:
    """Alerts look at whole minutes, so the newest events are seen a minute later at most."""
    arguments = ("monitor", "alerts", "--json")
    print(f"\n$ mlops {' '.join(arguments)}", flush=True)
    for _ in range(_ALERT_LOOKS):
        done = subprocess.run(
            [sys.executable, "-m", "ml_service", *arguments], stdout=subprocess.PIPE, check=False
        )
        found = json.loads(done.stdout or "null")
        if not isinstance(found, list):
            raise ClaimsError("`mlops monitor alerts` failed: its reason is above")
        if firing := [item for item in found if item["fires"]]:
            for item in firing:
                print(f"{item['name']}: {item['reason']}")
            return
        time.sleep(5)
    raise ClaimsError("no alert fires, though the population moved")


def _judged(*options: str) -> Mapping[str, Any]:
    arguments = [*("monitor", "drift", "--json"), *options]
    home = settings().home
    arguments += ["--parameters", str(home / "parameters.yml")]
    done = subprocess.run(
        [sys.executable, "-m", "ml_service", *arguments], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise ClaimsError(f"`mlops {' '.join(arguments)}` failed: its reason is above")
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _ginis(outcomes: Sequence[Mapping[str, Any]], marks: _Marks) -> tuple[float, float, float]:
    """Mean Gini of version 1 before the population moved and after, and of the other version."""
    moved = marks.times["other customers"]
    known = [item for item in outcomes if item["performance"]["gini"] is not None]
    groups: dict[str, list[float]] = {"before": [], "moved": [], "after": []}
    for item in known:
        late = datetime.fromisoformat(item["since"]) >= moved
        group = "after" if item["version"] != 1 else "moved" if late else "before"
        groups[group].append(item["performance"]["gini"]["value"])
    if not all(groups.values()):
        raise ClaimsError("too few claims are known to say how good the models were")
    before, after_move, after = (sum(values) / len(values) for values in groups.values())
    return before, after_move, after


def _draw(file: Path, outcomes: Sequence[Mapping[str, Any]], marks: _Marks) -> None:
    from matplotlib.figure import Figure

    start = min(datetime.fromisoformat(item["since"]) for item in outcomes)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for version in sorted({item["version"] for item in outcomes}):
        own = [o for o in outcomes if o["version"] == version and o["performance"]["gini"]]
        ginis = [item["performance"]["gini"] for item in own]
        times = [(datetime.fromisoformat(item["since"]) - start).total_seconds() for item in own]
        values = [gini["value"] for gini in ginis]
        reach = [[g["value"] - g["low"] for g in ginis], [g["high"] - g["value"] for g in ginis]]
        axes.errorbar(times, values, reach, marker="o", capsize=3, label=f"version {version}")
    for what, moment in marks.times.items():
        place = (moment - start).total_seconds()
        axes.axvline(place, color="grey", linestyle=":")
        axes.annotate(
            *(what, (place, 1)),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize="small",
        )
    axes.set_xlabel("seconds")
    axes.set_ylabel("Gini of the rows whose claims are known, 95% interval")
    axes.set_title("The population moves, and the model follows")
    axes.legend(loc="lower left")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
