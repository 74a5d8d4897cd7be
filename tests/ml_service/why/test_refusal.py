"""What the gate found wrong, and the feature that knows the outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.data.prepare import write_dataset
from insurance_claims.data.split import split_table
from insurance_claims.data.synthesize import synthesize
from insurance_claims.parameters import load_parameters
from ml_service.platforms.base import PipelineRun, PlatformError, RunStatus, StepRun
from ml_service.why.refusal import refusal_of, suspects

SPLIT = load_parameters().split
STEPS = tuple(StepRun(name, RunStatus.COMPLETED) for name in ("prepare", "train", "evaluate"))
RUN = PipelineRun("a" * 32, "training", RunStatus.COMPLETED, "2026-11-20T10:00:00", 9.0, {}, STEPS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in which one feature is the target, with its sign turned."""
    table, _ = synthesize(3000, 1, claim_rate=0.2)
    table["ps_car_15"] = 1.0 - table["target"]
    folder = tmp_path_factory.mktemp("data") / "dataset"
    version = {"name": "c", "version": 1, "sha256": "", "rows": 3000, "claim_rate": 0.2}
    write_dataset(split_table(table, SPLIT), {**version, "schema_version": "1"}, SPLIT, folder)
    return folder


class Outputs:
    """Stands in for a platform whose runs have these outputs."""

    def __init__(self, folder: Path, failed: list[str] | None, dataset: Path | None = None) -> None:
        self.pipelines = self
        self._folders = {"dataset": dataset}
        if failed is not None:
            checks: list[dict[str, Any]] = [{"name": "latency", "passed": True, "reason": "ok"}]
            checks += [{"name": name, "passed": False, "reason": f"{name}!"} for name in failed]
            (folder / "decision.json").write_text(json.dumps({"checks": checks}))
            self._folders["evaluation"] = folder

    def output(self, run_id: str, step: str, name: str) -> Path:
        found = self._folders.get(name)
        if found is None:
            raise PlatformError(f"no output {step}.{name}")
        return found


def refusal(platform: Any, run: PipelineRun = RUN) -> Any:
    return refusal_of(platform, run)


def test_the_feature_that_knows_the_outcome_comes_first(dataset: Path) -> None:
    surest, *others = suspects(dataset)
    assert (surest.feature, surest.gini) == ("ps_car_15", 1.0)
    assert all(other.gini < 0.5 for other in others)


def test_a_model_that_is_too_good_has_suspects(dataset: Path, tmp_path: Path) -> None:
    found = refusal(Outputs(tmp_path, ["plausible_gini", "calibration"], dataset))
    assert found.checks == ("plausible_gini", "calibration")
    assert found.reasons == ("plausible_gini!", "calibration!")
    assert found.suspects[0].feature == "ps_car_15"


def test_without_its_dataset_there_are_no_suspects(tmp_path: Path) -> None:
    assert refusal(Outputs(tmp_path, ["plausible_gini"])).suspects == ()


def test_other_refusals_have_no_suspects(dataset: Path, tmp_path: Path) -> None:
    assert refusal(Outputs(tmp_path, ["minimum_gini"], dataset)).suspects == ()


@pytest.mark.parametrize("failed", [[], ["against_champion"], None])
def test_nothing_is_wrong_with_a_model_that_is_merely_no_better(
    tmp_path: Path, failed: list[str] | None
) -> None:
    assert refusal(Outputs(tmp_path, failed)) is None


def test_a_pipeline_without_a_gate_refuses_nothing(tmp_path: Path) -> None:
    run = PipelineRun("a", "other", RunStatus.COMPLETED, "", 1.0, {}, STEPS[:2])
    assert refusal(Outputs(tmp_path, ["minimum_gini"]), run) is None
