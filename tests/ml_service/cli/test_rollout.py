"""Rollouts as commands: what they do, say, and exit with. Time is simulated, the logic and the state are real."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from ml_service.platforms.base import PlatformError
from ml_service.rollout.audit import AUDIT_LOG
from ml_service.rollout.plan import PLAN_FILE
from ml_service.settings import settings
from ml_service.smoke_test import SmokeReport
from tests.ml_service.cli.conftest import Simulated
from tests.ml_service.rollout.simulation import NEW, OLD, Behavior

Make = Callable[..., Simulated]

SLOW = Behavior(slowness=3.0)


def test_a_new_version_is_walked_to_production(simulate: Make) -> None:
    platform = simulate()
    result = platform.mlops("deploy", "production")
    assert result.code == 0, result.err
    assert result.out == "production answers at http://here/score (version 2 100%)\n"
    looks = [
        line for line in result.err.splitlines() if line.startswith("production: version 1 to 2")
    ]
    assert len(looks) > 20
    assert any("stage 2 of 3 (50%)" in line for line in looks)
    assert looks[-1].startswith("production: version 1 to 2: promoted (healthy after")
    assert platform.champion() == NEW
    assert platform.whats() == ["rollout begun", "promoted"]


def test_a_bad_version_is_taken_back_and_the_command_fails(simulate: Make) -> None:
    platform = simulate(SLOW)
    result = platform.mlops("deploy", "production", "--model", "2")
    assert result.code == 1
    assert "error: version 2 was not promoted in production: rolled back: latency p50" in result.err
    assert "Traceback" not in result.err
    assert dict(platform.world.traffic("production")) == {OLD: 100}
    assert platform.champion() == OLD
    [found] = platform.mlops("endpoints", "--json").json()["endpoints"]
    assert found["traffic"] == {"1": 100}


def test_json_says_how_it_ended(simulate: Make) -> None:
    good = simulate().mlops("deploy", "production", "--json").json()
    assert (good["rollout"]["outcome"], good["traffic"]) == ("promoted", {"2": 100})
    assert "secret" not in json.dumps(good)


def test_json_of_a_bad_version_has_its_reasons(simulate: Make) -> None:
    result = simulate(SLOW).mlops("deploy", "production", "--json")
    assert result.code == 1
    assert "latency p50 ratio" in result.json()["rollout"]["reason"]


def test_what_is_there_already_is_said(simulate: Make) -> None:
    platform = simulate()
    result = platform.mlops("deploy", "production", "--model", "1")
    assert (result.code, platform.whats()) == (0, [])
    assert "(version 1 100%)" in result.out


def test_what_is_kept_ready_is_not_taken_away_by_deploying_again(simulate: Make) -> None:
    platform = simulate()
    assert platform.mlops("deploy", "production").code == 0
    assert platform.mlops("deploy", "production").code == 0
    assert OLD in platform.world.started


def test_at_once_there_is_no_canary(simulate: Make) -> None:
    platform = simulate()
    assert platform.mlops("deploy", "production", "--at-once").code == 0
    assert dict(platform.world.traffic("production")) == {NEW: 100}
    assert platform.whats() == ["deployed"]
    assert platform.mlops("rollout", "status", "--json").json()["rollout"] is None


def test_the_first_version_is_deployed_at_once(simulate: Make) -> None:
    platform = simulate()
    platform.world.routing = None
    assert platform.mlops("deploy", "production").code == 0
    [record] = platform.mlops("audit", "--json").json()["records"]
    assert (record["what"], record["before"], record["after"]) == ("deployed", None, NEW)
    assert record["who"] == "someone"


def begun(platform: Simulated) -> None:
    """A rollout that is in its first stage, and at which nobody looks."""
    result = platform.mlops("deploy", "production", "--no-wait")
    assert result.code == 0
    assert "`mlops rollout run production` goes on" in result.out
    for _ in range(3):
        platform.world.sleep(60)
        assert platform.mlops("rollout", "run", "--once").code == 0


@pytest.mark.parametrize("options", [["--model", "3"], ["--model", "3", "--at-once"]])
def test_while_a_rollout_is_active_nothing_else_is_deployed(
    simulate: Make, options: list[str]
) -> None:
    platform = simulate()
    begun(platform)
    result = platform.mlops("deploy", "production", *options)
    assert result.code == 1
    assert "a rollout is active" in result.err
    assert "`mlops rollout abort production --reason TEXT` ends it" in result.err
    assert 3 not in platform.world.started


def test_a_rollout_that_was_begun_is_walked_on(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    result = platform.mlops("rollout", "run", "--json")
    assert (result.code, result.json()["rollout"]["outcome"]) == (0, "promoted")
    again = platform.mlops("rollout", "run")
    assert (again.code, again.out.split(":")[0]) == (0, "nothing to do")


def test_a_scheduled_look_fails_once_where_it_takes_a_canary_back(simulate: Make) -> None:
    platform = simulate(SLOW)
    assert platform.mlops("deploy", "production", "--no-wait").code == 0
    codes = []
    for _ in range(8):
        platform.world.sleep(60)
        codes.append(platform.mlops("rollout", "run", "production", "--once").code)
    assert codes.count(1) == 1
    assert codes[-1] == 0


def test_where_nothing_was_rolled_out_there_is_nothing_to_do(simulate: Make) -> None:
    platform = simulate()
    result = platform.mlops("rollout", "run", "--once")
    assert (result.code, result.out) == (0, "nothing to do: production has had no rollout\n")
    assert "has had no rollout" in platform.mlops("rollout", "status").out
    assert "has had no rollout" in platform.mlops("rollout", "abort", "--reason", "x").err


def test_a_scheduled_look_stops_what_was_kept_ready(simulate: Make) -> None:
    platform = simulate()
    assert platform.mlops("deploy", "production").code == 0
    assert (
        "version 1 is kept ready, without traffic, until" in platform.mlops("rollout", "status").out
    )
    platform.world.now += timedelta(days=1)
    assert "`mlops rollout run production` stops it" in platform.mlops("rollout", "status").out
    assert platform.mlops("rollout", "run", "--once").code == 0
    assert platform.world.stopped == [OLD]


def test_the_status_shows_both_versions_beside_each_other(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    text = platform.mlops("rollout", "status", "production").out
    assert "stage 1 of 3 (10%), not enough evidence after" in text
    assert "answers now: version 1 90%, version 2 10%" in text
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert rows["requests"].rstrip().endswith("1,000 or more")
    errors, latencies = rows["error rate difference"], rows["latency p95 ratio"]
    assert (errors.count("% ("), errors.split()[-1]) == (3, "0.50%")
    assert (latencies.count(" ms ("), latencies.count(" x (")) == (2, 1)
    assert rows["score PSI"].split()[-1] == "0.250"
    assert rows["score mean difference"].split()[-1] == "+-10.0%"
    assert "the least time of this stage, until" in text
    assert "stage 1 (rollout): the canary answers" in text
    assert "nobody looks" not in text
    platform.world.sleep(600)
    assert "nobody looks at it: `mlops rollout status" in platform.mlops("rollout", "status").out


def test_the_status_as_json(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    found = platform.mlops("rollout", "status", "--json").json()
    assert found["traffic"] == {"1": 90, "2": 10}
    assert found["rollout"]["active"]
    assert "window" not in found["rollout"]
    assert {"name", "production", "canary", "compared", "limit"} == found["figures"][0].keys()
    assert found["waits_for"]


def test_the_status_is_told_even_where_the_endpoint_cannot_be_asked(
    simulate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = simulate()
    begun(platform)

    def away(environment: str) -> None:
        raise PlatformError("the network is away")

    monkeypatch.setattr(platform.endpoints, "traffic", away)
    result = platform.mlops("rollout", "status")
    assert result.code == 0
    assert "what answers cannot be asked: the network is away" in result.out
    assert "stage 1 of 3" in result.out


def test_watching_shows_changes_until_the_end(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    platform.at = {
        5: lambda: platform.mlops("rollout", "pause", "--reason", "lunch"),
        9: lambda: platform.mlops("rollout", "abort", "--reason", "enough"),
    }
    result = platform.mlops("rollout", "status", "--watch")
    assert result.code == 0
    assert result.out.rstrip().endswith("aborted (aborted by hand: enough)")


def test_watching_on_a_terminal_draws_the_whole_view(
    simulate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = simulate()
    begun(platform)
    monkeypatch.setenv("FORCE_COLOR", "1")
    platform.at = {3: lambda: platform.mlops("rollout", "abort", "--reason", "enough")}
    result = platform.mlops("rollout", "status", "--watch")
    assert result.code == 0
    assert "error rate difference" in result.out
    assert "someone): aborted by hand: enough" in result.out


def test_who_has_watched_enough_presses_ctrl_c(simulate: Make) -> None:
    platform = simulate()
    begun(platform)

    def interrupt() -> None:
        raise KeyboardInterrupt

    platform.at = {3: interrupt}
    result = platform.mlops("rollout", "status", "--watch")
    assert (result.code, result.err) == (0, "")
    assert platform.mlops("rollout", "status", "--watch", "--json").code == 2


@pytest.mark.parametrize("shared", [False, True])
def test_golden_predictions_are_asked_where_one_version_answers(
    simulate: Make, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    platform = simulate()
    if shared:
        begun(platform)
    asked: list[tuple[bool, int | None]] = []

    def smoke_test(
        url: str, key: str, golden: object, version: int | None, log: object
    ) -> SmokeReport:
        asked.append((golden is not None, version))
        return SmokeReport([], None)

    monkeypatch.setattr("ml_service.smoke_test.smoke_test", smoke_test)
    result = platform.mlops("smoke-test", "production")
    assert result.code == 0
    assert asked == [(False, None) if shared else (True, OLD)]
    assert ("versions 1 and 2 share the traffic" in result.err) == shared


def test_what_a_person_says_is_kept(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    assert platform.mlops("rollout", "advance", "--reason", " ").code == 2
    assert platform.mlops("rollout", "advance").code == 2
    assert "stage 2 of 3" in platform.mlops("rollout", "advance", "--reason", "seen enough").out
    assert "paused 2 of 3" in platform.mlops("rollout", "pause", "--reason", "lunch").out
    status = platform.mlops("rollout", "status").out
    assert "a person: `mlops rollout resume production --reason TEXT`" in status
    assert "(someone): advanced by hand: seen enough" in status
    assert "stage 2 of 3" in platform.mlops("rollout", "resume", "--reason", "back").out
    result = platform.mlops("rollout", "abort", "--reason", "enough")
    assert (result.code, "aborted" in result.out) == (0, True)
    assert dict(platform.world.traffic("production")) == {OLD: 100}
    assert platform.champion() == OLD
    assert platform.mlops("rollout", "abort", "--reason", "again").code == 1


def test_an_abort_that_is_not_all_done_says_so(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    platform.world.faults = {"route": 1}
    result = platform.mlops("rollout", "abort", "--reason", "enough")
    assert result.code == 1
    assert "`mlops rollout run production` completes it" in result.err
    result = platform.mlops("rollout", "run")
    assert result.code == 1 and "aborted by hand: enough" in result.err
    assert dict(platform.world.traffic("production")) == {OLD: 100}


def test_an_interrupted_walk_says_that_the_rollout_is_active(simulate: Make) -> None:
    platform = simulate()

    def interrupt() -> None:
        raise KeyboardInterrupt

    platform.at = {5: interrupt}
    result = platform.mlops("deploy", "production")
    assert result.code == 1
    assert "interrupted: nobody looks at the rollout in production now" in result.err
    assert platform.mlops("rollout", "run").code == 0


def test_the_endpoints_say_which_one_is_the_canary(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    result = platform.mlops("endpoints")
    assert "10% version 2 (canary)" in " ".join(result.out.split())
    assert "`mlops rollout status production` says more" in result.out
    assert platform.mlops("endpoints", "--json").json()["rollouts"]["production"]["canary"] == NEW


def test_the_endpoints_show_copies(simulate: Make, tmp_path: Path) -> None:
    platform = simulate()
    plan = yaml.safe_load(PLAN_FILE.read_text()) | {"shadow": True}
    (tmp_path / "shadow.yml").write_text(yaml.safe_dump(plan))
    options = ("--no-wait", "--plan", str(tmp_path / "shadow.yml"))
    assert platform.mlops("deploy", "production", *options).code == 0
    platform.world.sleep(60)
    assert platform.mlops("rollout", "run", "--once").code == 0
    shown = " ".join(platform.mlops("endpoints").out.split())
    assert "100% version 1, copies of 10% to version 2" in shown


def test_taking_down_ends_a_rollout(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    result = platform.mlops("down", "production")
    assert result.code == 0
    assert "aborting the rollout of version 2" in result.err
    assert platform.champion() == OLD
    status = platform.mlops("rollout", "status", "--json").json()
    assert (status["rollout"]["outcome"], status["traffic"]) == ("aborted", {})
    assert platform.whats() == ["rollout begun", "aborted", "taken down"]
    assert platform.mlops("deploy", "production", "--model", "3").code == 0


def test_a_rollout_whose_endpoint_vanished_stands_in_nobodys_way(simulate: Make) -> None:
    platform = simulate()
    begun(platform)
    platform.world.routing = None
    assert platform.mlops("deploy", "production", "--model", "3").code == 0
    found = platform.mlops("rollout", "status", "--json").json()["rollout"]
    assert (found["outcome"], found["reason"]) == (
        *("aborted",),
        "nothing is deployed to production any more",
    )


@pytest.mark.parametrize("name", ["MLOPS_ROLLOUT_PLAN", "--plan"])
def test_the_plan_is_chosen(
    simulate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    platform = simulate()
    plan = yaml.safe_load(PLAN_FILE.read_text()) | {"start_minutes": 3}
    (tmp_path / "plan.yml").write_text(yaml.safe_dump(plan))
    options = [name, str(tmp_path / "plan.yml")] if name == "--plan" else []
    if not options:
        monkeypatch.setenv(name, str(tmp_path / "plan.yml"))
        settings.cache_clear()
    assert platform.mlops("deploy", "production", "--no-wait", *options).code == 0
    found = platform.mlops("rollout", "status", "--json").json()["rollout"]
    assert found["plan"]["start_minutes"] == 3


def test_a_plan_that_does_not_fit_changes_nothing(simulate: Make, tmp_path: Path) -> None:
    platform = simulate()
    (tmp_path / "plan.yml").write_text("stages: []")
    result = platform.mlops("deploy", "production", "--plan", str(tmp_path / "plan.yml"))
    assert result.code == 1
    assert "is not a rollout plan" in result.err
    assert NEW not in platform.world.started


def test_a_version_that_does_not_load_is_no_canary(simulate: Make) -> None:
    platform = simulate()
    result = platform.mlops("deploy", "production", "--model", "4")
    assert result.code == 1
    assert result.err.count("error: ") == 1
    assert 4 not in platform.world.started
    assert platform.mlops("rollout", "status", "--json").json()["rollout"] is None


def test_nothing_is_compared_with_a_sick_version(simulate: Make) -> None:
    platform = simulate()
    platform.world._behaviors = {**platform.world._behaviors, OLD: Behavior(dies_after=0)}
    result = platform.mlops("deploy", "production")
    assert result.code == 1
    assert "version 1, which answers in production, is unhealthy" in result.err
    assert platform.mlops("deploy", "production", "--at-once").code == 0


def test_back_to_the_version_before(simulate: Make) -> None:
    platform = simulate()
    assert platform.mlops("deploy", "production").code == 0
    result = platform.mlops("rollback", "production", "--reason", "too many complaints")
    assert result.code == 0, result.err
    assert result.out == "version 1 answers everything in production and is the champion\n"
    assert "checking version 1: its files and its golden predictions" in result.err
    assert dict(platform.world.traffic("production")) == {OLD: 100}
    [*_, last] = platform.mlops("audit", "production", "--json").json()["records"]
    assert (last["what"], last["who"], last["why"]) == (
        "rollback",
        "someone",
        "too many complaints",
    )
    assert (last["before"], last["after"]) == (NEW, OLD)
    shown = " ".join(platform.mlops("audit").out.split())
    assert "rollback 2 1 someone too many complaints" in shown


@pytest.mark.parametrize(
    ("version", "said"),
    [("4", "model"), ("9", "there is no version 9"), ("1", "answers everything")],
)
def test_a_rollback_that_makes_no_sense_changes_nothing(
    simulate: Make, version: str, said: str
) -> None:
    platform = simulate()
    platform.world.promote(OLD, "it was")
    result = platform.mlops("rollback", "production", "--to", version, "--reason", "x")
    assert result.code == 1
    assert said in result.err and "Traceback" not in result.err
    assert dict(platform.world.traffic("production")) == {OLD: 100}
    assert platform.whats() == []


def test_golden_predictions_that_are_others_are_refused(
    simulate: Make, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = simulate()
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for name in ("model.txt", "model.json"):
        (swapped / name).write_bytes((models / "3" / name).read_bytes())
    (swapped / "golden.json").write_bytes((models / "2" / "golden.json").read_bytes())
    monkeypatch.setattr(platform.models, "fetch", lambda version: swapped)
    result = platform.mlops("rollback", "production", "--to", "3", "--reason", "x")
    assert result.code == 1
    assert "version 3 does not give its golden predictions: off by up to" in result.err


def test_a_rollback_takes_a_reason(simulate: Make) -> None:
    platform = simulate()
    assert platform.mlops("rollback", "production").code == 2
    assert platform.mlops("rollback", "production", "--reason", " ").code == 2


def test_the_audit_log_tells_of_torn_lines_and_of_one_environment(simulate: Make) -> None:
    platform = simulate()
    assert "nothing was deployed" in platform.mlops("audit").out
    assert platform.mlops("deploy", "production", "--at-once").code == 0
    platform.documents.append(AUDIT_LOG, b'{"key": "x", "ti')
    result = platform.mlops("audit")
    assert "deployed" in result.out
    assert "a crash tore lines of the audit log, which cannot be read: 2" in result.err
    assert platform.mlops("audit", "--json").json()["torn_lines"] == [2]
    assert platform.mlops("audit", "staging", "--json").json()["records"] == []


def test_who_it_was_without_a_build_agent(simulate: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = simulate()
    monkeypatch.delenv("BUILD_REQUESTEDFOR")
    monkeypatch.setenv("LOGNAME", "grace")
    settings.cache_clear()
    assert platform.mlops("deploy", "production", "--at-once").code == 0
    [record] = platform.mlops("audit", "--json").json()["records"]
    assert record["who"].startswith("grace@")
