"""What a training run decided, as a folder that travels from one build to the next.

``model_version.json`` (name, version, decision, reasons, run), ``decision.json``, ``model_card.md`` with ``plots/``. A
release reads name and version from here, so that they cannot be others than those that were judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, whole_folder, write_json
from ml_service.platforms.base import PipelineRun, Platform

VERSION_FILE = "model_version.json"


def write_report(
    platform: Platform, run: PipelineRun, registration: Mapping[str, Any], folder: Path
) -> None:
    """Write the folder of a completed run of the training pipeline.

    Args:
        platform: that the run was on.
        run: completed.
        registration: content of its model_version.json.
        folder: to write; must not exist or be empty.

    Raises:
        ClaimsError: the folder exists.
    """
    evaluation = platform.pipelines.output(run.id, "evaluate", "evaluation")
    with whole_folder(folder) as aside:
        shutil.copytree(evaluation, aside, dirs_exist_ok=True)
        write_json(aside / VERSION_FILE, {**registration, "run": run.id})


def registered_version(folder: Path, model_name: str) -> int:
    """The version that the run of a report registered.

    Raises:
        ClaimsError: it is no report, the run registered nothing, or a model of another name.
    """
    file = folder / VERSION_FILE
    if not file.is_file():
        raise ClaimsError(f"{folder} is no report of a training run: it has no {VERSION_FILE}")
    content = read_json(file)
    if not isinstance(content, dict) or not content.get("registered"):
        raise ClaimsError(f"{file} says that nothing was registered: there is nothing to deploy")
    if content.get("name") != model_name:
        raise ClaimsError(
            f"{file} names model {content.get('name')!r}, but MODEL_NAME is {model_name!r}"
        )
    if type(content.get("version")) is not int:
        raise ClaimsError(f"{file} names no version")
    return int(content["version"])
