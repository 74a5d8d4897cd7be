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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_whole
from ml_service.cli.context import open_platform
from ml_service.cli.drift import DRIFTED
from ml_service.cli.shown import run_shown
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.feedback.traffic import Traffic

_ROWS = 30_000
_SHIFT = 1.0
_REQUEST_SECONDS = 0.15
_WINDOW_SECONDS = 15.0
"""Days in earnest, so that a demonstration of it takes minutes."""
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
) -> None:
    """The population moves: an alert, labels, a retraining, the gate, a canary, and a model that fits again.

    Begins anew each time, with a state of its own below MLOPS_HOME, and stops at its end what it started. Exit code 0
    only where the model recovered.
    """
    home = settings().home.absolute() / "demo-drift"
    picture = picture or home / "demo-drift.png"
    with _own_state(home) as marks:
        _train_and_serve(home)
        _loop(home, marks)
        outcomes = _judged("--since", (datetime.now(UTC) - timedelta(days=1)).isoformat())
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
def _own_state(home: Path) -> Iterator[_Marks]:
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
    }
    settings.cache_clear()
    try:
        if home.exists():
            run_shown("down")
            shutil.rmtree(home)
        write_whole(home / "rollout.yml", _PLAN)
        _write_parameters(home / "parameters.yml")
        yield _Marks()
    finally:
        run_shown("down")
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def _write_parameters(file: Path) -> None:
    import yaml

    from insurance_claims.parameters import load_parameters

    content = load_parameters().model_dump(mode="json")
    content["monitoring"] |= {"window_hours": _WINDOW_SECONDS / 3600, "cooldown_hours": 0.1}
    write_whole(file, yaml.safe_dump(content))


def _train_and_serve(home: Path) -> None:
    file = str(home / "claims.parquet")
    run_shown("data", "synthesize", "--rows", str(_ROWS), "--seed", "1", file)
    run_shown("data", "add", file)
    run_shown("run", "training")
    run_shown("deploy", "production")


def _loop(home: Path, marks: _Marks) -> None:
    from ml_service.feedback.traffic import Traffic

    where = open_platform("local")
    endpoint = where.endpoints.get("production")
    if endpoint is None:
        raise ClaimsError("nothing answers in production: its reason is above")
    limits = ("--parameters", str(home / "parameters.yml"))
    traffic = Traffic(endpoint, _REQUEST_SECONDS)
    traffic.start()
    try:
        _wait(2 * _WINDOW_SECONDS, traffic, "customers ask, as those of the training data")
        run_shown("monitor", "drift", *limits)
        marks.set("other customers")
        first, traffic.shift = traffic.answered, _SHIFT
        _wait(4 * _WINDOW_SECONDS, traffic, "other customers ask")
        report = str(home / "drift.html")
        run_shown(
            *("monitor", "drift", *limits), "--html", report, "--fail-if-drifted", code=DRIFTED
        )
        _wait_for_alert()
        marks.set("alert")
        _add_labels(home / "labels.csv", traffic, first)
        run_shown("retrain", "--if-needed", *limits)
        champion = where.models.champion()
        if champion is None or champion.version == 1:
            raise ClaimsError("the gate refused the retrained model: its reasons are above")
        marks.set("retrained")
        run_shown("deploy", "production")
        marks.set("promoted")
        _wait(2 * _WINDOW_SECONDS, traffic, "they are answered by the new version")
        traffic.stop()
        # The last file of collected rows.
        time.sleep(3)
        since = ("--since", marks.times["promoted"].isoformat())
        run_shown("monitor", "drift", "--model", "champion", *since, *limits, "--fail-if-drifted")
        _add_labels(home / "labels.csv", traffic)
        marks.set("recovered")
    finally:
        traffic.stop()
    print(f"{traffic.answered:,} requests were answered, {traffic.failed} were not")


def _add_labels(file: Path, traffic: Traffic, first: int = 0) -> None:
    print(f"\nclaims are known now of {traffic.write_labels(file, first):,} rows")
    run_shown("labels", "add", str(file))


def _wait(seconds: float, traffic: Traffic, what: str) -> None:
    print(f"\n{what} ({seconds:.0f} s)", flush=True)
    before = traffic.answered
    time.sleep(seconds)
    if traffic.answered == before:
        raise ClaimsError("no request was answered: see `mlops endpoints`")


def _wait_for_alert() -> None:
    """Alerts look at whole minutes, so the newest events are seen a minute later at most."""
    arguments = ("monitor", "alerts", "--json")
    print(f"\n$ mlops {' '.join(arguments)}", flush=True)
    for _ in range(_ALERT_LOOKS):
        done = subprocess.run(
            [sys.executable, "-m", "ml_service", *arguments], stdout=subprocess.PIPE, check=False
        )
        if firing := [item for item in json.loads(done.stdout or "[]") if item["fires"]]:
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
