"""The bill of materials of a registered model: valid, complete, and the same whenever it is made."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.files import sha256_of_file
from insurance_claims.registry import ModelVersion
from ml_service.sbom import model_sbom
from tests.environment_setup.cyclonedx import schema_problems

SHA256 = "0123456789abcdef" * 4
MODEL = ModelVersion(
    name="claims",
    version=3,
    created="2026-11-21T08:00:00+00:00",
    run_id="r",
    source="file:///nowhere",
    tags={
        "model_sha256": SHA256,
        "data_name": "policies",
        "data_version": "7",
        "data_sha256": SHA256[::-1],
        "git_commit": "abc",
        "metric_gini": "0.28",
        "champion_reason": "because",
    },
    champion=True,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "lift.png").write_bytes(b"\x89PNG")
    (tmp_path / "model.txt").write_text("tree")
    packages = {"lightgbm": "4.7.0", "numpy": "2.3.2"}
    (tmp_path / "packages.json").write_text(json.dumps(packages))
    return tmp_path


def test_it_names_model_files_data_and_packages(folder: Path) -> None:
    bill = model_sbom(MODEL, folder)
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == (
        *("machine-learning-model", "claims", "3"),
    )
    assert model["hashes"] == [{"alg": "SHA-256", "content": SHA256}]
    assert model["properties"] == [{"name": "claims:git_commit", "value": "abc"}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics == [{"type": "gini", "value": "0.28"}]
    files = {item["name"]: item["hashes"][0]["content"] for item in model["components"]}
    assert files == {
        name: sha256_of_file(folder / name)
        for name in ("model.txt", "packages.json", "plots/lift.png")
    }
    data, *packages = bill["components"]
    assert (data["type"], data["name"], data["version"]) == ("data", "policies", "7")
    purls = [package["purl"] for package in packages]
    assert purls == ["pkg:pypi/lightgbm@4.7.0", "pkg:pypi/numpy@2.3.2"]
    assert bill["dependencies"] == [{"ref": "model", "dependsOn": ["data", *purls]}]
    assert model_sbom(MODEL, folder) == bill


def test_it_keeps_the_schema_of_cyclonedx(folder: Path) -> None:
    bill = model_sbom(MODEL, folder)
    assert schema_problems(bill) == []
    bill["metadata"]["component"]["type"] = "model"
    assert schema_problems(bill)


def test_a_version_of_which_nobody_knows_the_packages_is_refused(folder: Path) -> None:
    (folder / "packages.json").unlink()
    with pytest.raises(ClaimsError, match="version 3 of claims was registered without packages"):
        model_sbom(MODEL, folder)


def test_the_packages_of_this_environment_are_recorded() -> None:
    from insurance_claims.register.lineage import installed_packages

    found = installed_packages()
    assert found["lightgbm"] == metadata.version("lightgbm")
    assert found["pydantic-settings"] == metadata.version("pydantic-settings")
    # It is installed from a folder: another one of that name may be in an index.
    assert "insurance-claims" not in found
