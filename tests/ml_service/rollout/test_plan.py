"""The rollout plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ml_service.rollout.errors import RolloutError
from ml_service.rollout.plan import PLAN_FILE, load_plan, parse_plan


def shipped() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(PLAN_FILE.read_text())
    return content


def test_the_shipped_plan_goes_from_a_tenth_to_all() -> None:
    plan = load_plan()
    assert [stage.share for stage in plan.stages] == [10, 50, 100]
    assert plan.alpha <= 0.02
    assert not plan.shadow


def test_alpha_is_split_over_every_metric_of_every_stage() -> None:
    plan = load_plan()
    assert plan.limits.judged == 8
    assert plan.error_of_each_figure * 8 * 3 == pytest.approx(plan.alpha)


def test_a_metric_that_is_not_judged_takes_no_part_of_alpha() -> None:
    content = shipped()
    content["limits"]["score_ks"] = None
    assert parse_plan(content, "plan").error_of_each_figure == pytest.approx(0.02 / 21)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "stages",
            [{"share": 10, "least_requests": 1, "least_minutes": 0, "most_minutes": 9}],
            "2",
        ),
        ("alpha", 0.5, "alpha"),
        ("alpha", 0, "alpha"),
        ("sticky_header", "x customer", "no name of a header"),
        ("look_every_seconds", float("nan"), "look_every_seconds"),
        ("shados", True, "shados"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(RolloutError, match=said):
        parse_plan(shipped() | {key: value}, "plan")


@pytest.mark.parametrize("shares", [[50, 10, 100], [10, 50, 90], [10, 10, 100]])
def test_stages_climb_to_all(shares: list[int]) -> None:
    content = shipped()
    for stage, share in zip(content["stages"], shares, strict=True):
        stage["share"] = share
    with pytest.raises(RolloutError, match="must grow and end at 100"):
        parse_plan(content, "plan")


def test_a_stage_needs_time_to_end() -> None:
    content = shipped()
    content["stages"][0]["most_minutes"] = content["stages"][0]["least_minutes"]
    with pytest.raises(RolloutError, match="more than least_minutes"):
        parse_plan(content, "plan")


def test_a_stage_of_all_traffic_must_have_something_to_judge() -> None:
    content = shipped()
    content["limits"] |= {"error_rate": None, "latency_ratio": {}}
    with pytest.raises(RolloutError, match="error_rate or latency_ratio"):
        parse_plan(content, "plan")


def test_a_ratio_below_one_would_refuse_equal_models() -> None:
    content = shipped()
    content["limits"]["latency_ratio"] = {"p95": 0.9}
    with pytest.raises(RolloutError, match="latency_ratio.p95"):
        parse_plan(content, "plan")


def test_files_that_are_no_plan(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="cannot be read"):
        load_plan(tmp_path / "nowhere.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("stages: [")
    with pytest.raises(RolloutError, match="is not YAML"):
        load_plan(broken)
