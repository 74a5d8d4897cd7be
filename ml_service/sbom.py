"""What a registered model is made of, as a bill of materials in CycloneDX (ECMA-424)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, TypeAlias

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, sha256_of_file
from insurance_claims.register.lineage import PACKAGES_FILE
from insurance_claims.registry import MODEL_SHA256, ModelVersion

SPECIFICATION = "1.6"

_MODEL, _DATA, _METRIC = "model", "data", "metric_"
_LINEAGE = (
    *("git_commit", "lock_sha256", "schema_version", "parameters_sha256", "files_sha256"),
    *("pipeline_run_id", "build_id", "build_uri"),
)

Component: TypeAlias = dict[str, Any]


def model_sbom(model: ModelVersion, folder: Path) -> dict[str, Any]:
    """A bill of materials, the same whenever it is made.

    Args:
        model: with the lineage that it was registered with.
        folder: its files, checked against the registry.

    Returns:
        The content of a CycloneDX JSON file: the model with its lineage and metrics, its files and the data version
        with their checksums, and the packages of the environment that registered it.

    Raises:
        ClaimsError: the packages were not recorded.
    """
    if not (folder / PACKAGES_FILE).is_file():
        raise ClaimsError(
            f"version {model.version} of {model.name} was registered without {PACKAGES_FILE}, so nobody knows what it "
            "was trained with: train again, or ask for a newer version"
        )
    packages = [
        _package(name, version) for name, version in read_json(folder / PACKAGES_FILE).items()
    ]
    data = _data(model)
    used = [_DATA, *(package["bom-ref"] for package in packages)]
    identity = f"{model.name}:{model.version}:{model.tags[MODEL_SHA256]}"
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "version": 1,
        "metadata": {"timestamp": model.created, "component": _model(model, folder)},
        "components": [data, *packages],
        "dependencies": [{"ref": _MODEL, "dependsOn": used}],
    }


def _model(model: ModelVersion, folder: Path) -> Component:
    metrics = {
        name.removeprefix(_METRIC): value
        for name, value in sorted(model.tags.items())
        if name.startswith(_METRIC)
    }
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": model.name,
        "version": str(model.version),
        "hashes": _hashes(model.tags[MODEL_SHA256]),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "classification",
                "architectureFamily": "gradient boosted decision trees",
                "datasets": [{"ref": _DATA}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": name, "value": value} for name, value in metrics.items()
                ]
            },
        },
        "properties": [
            {"name": f"{model.name}:{key}", "value": model.tags[key]}
            for key in _LINEAGE
            if key in model.tags
        ],
        "components": [
            {
                "type": "file",
                "name": path.relative_to(folder).as_posix(),
                "hashes": _hashes(sha256_of_file(path)),
            }
            for path in files
        ],
    }


def _data(model: ModelVersion) -> Component:
    tags = model.tags
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": tags["data_name"],
        "version": tags["data_version"],
        "hashes": _hashes(tags["data_sha256"]),
    }


def _package(name: str, version: str) -> Component:
    reference = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
    }


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]
