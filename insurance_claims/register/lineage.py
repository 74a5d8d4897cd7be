"""What a registered model came from, as flat tags."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

PACKAGES_FILE = "packages.json"

ENVIRONMENT = {
    "git_commit": ("MLOPS_GIT_COMMIT",),
    "lock_sha256": ("MLOPS_LOCK_SHA256",),
    # Azure Machine Learning names a pipeline's run only while it runs, in a variable of its own.
    "pipeline_run_id": ("MLOPS_PIPELINE_RUN_ID", "AZUREML_ROOT_RUN_ID"),
    "build_id": ("BUILD_BUILDID",),
    "build_uri": ("BUILD_URI",),
}
"""Lineage that only the platform knows: it hands it to a step in these variables. The first that is set counts."""


def lineage(
    model: Mapping[str, Any], dataset: Mapping[str, Any], decision: Mapping[str, Any]
) -> dict[str, str]:
    """Flat lineage of a model.

    Args:
        model: content of model.json.
        dataset: content of the dataset's manifest.json.
        decision: content of decision.json.

    Returns:
        Tags: the same keys on every platform. What the environment does not say is left out.
    """
    parameters = json.dumps(
        {"split": dataset["split"], "training": model["parameters"]}, sort_keys=True
    )
    tags = {
        "model_sha256": str(model["sha256"]),
        "engine": str(model.get("engine", "local")),
        "data_name": str(dataset["data"]["name"]),
        "data_version": str(dataset["data"]["version"]),
        "data_sha256": str(dataset["data"]["sha256"]),
        "schema_version": str(dataset["schema_version"]),
        "parameters": parameters,
        "parameters_sha256": hashlib.sha256(parameters.encode()).hexdigest(),
        "decision": str(decision["decision"]),
    }
    for name, figure in decision["challenger"]["metrics"].items():
        tags[f"metric_{name}"] = repr(float(figure["value"]))
    for key, variables in ENVIRONMENT.items():
        if values := [os.environ[name] for name in variables if os.environ.get(name)]:
            tags[key] = values[0]
    return tags


def installed_packages() -> dict[str, str]:
    """Version of each package of this environment, by the name that package indexes give it.

    What was installed from a folder, as this package itself, is in no index and left out.
    """
    found = {
        re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version
        for distribution in metadata.distributions()
        if distribution.read_text("direct_url.json") is None
    }
    return dict(sorted(found.items()))
