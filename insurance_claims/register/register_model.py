"""Register the challenger where the gate promoted it, with its lineage, and make it the champion.

A refused model is a result, not a failure: nothing is registered, and the output says why.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insurance_claims import registry
from insurance_claims.errors import RegistryError
from insurance_claims.files import read_json, whole_folder, write_json
from insurance_claims.model import METADATA_FILE, MODEL_FILE
from insurance_claims.register.golden import GOLDEN_FILE, golden
from insurance_claims.register.lineage import PACKAGES_FILE, installed_packages, lineage
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import reported

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTRATION_FILE = "model_version.json"
TRAINING_REASON = "training_reason"
"""Tag: why the model was trained."""


def register_challenger(
    client: MlflowClient,
    name: str,
    run_id: str,
    folders: Mapping[str, Path],
    decision: Mapping[str, Any],
    reason: str | None = None,
) -> dict[str, Any]:
    """Register and promote a challenger that passed the gate.

    Args:
        client: of the tracking server.
        name: of the registered model.
        run_id: the MLflow run that the model's files are logged to.
        folders: ``dataset``, ``model`` and ``evaluation``.
        decision: content of decision.json.
        reason: why it was trained, for the lineage.

    Returns:
        The content of model_version.json.

    Raises:
        RegistryError: the champion is not the one that the challenger was judged against, or MLflow fails.
    """
    if decision["decision"] != "promote":
        return {"registered": False, "name": name, "reasons": list(decision["reasons"])}
    judged_against = (decision.get("champion") or {}).get("version")
    with reported(f"looking up the champion of {name}", RegistryError):
        champion = registry.champion(client, name)
    metadata = read_json(folders["model"] / METADATA_FILE)
    if champion and champion.tags.get(registry.MODEL_SHA256) == metadata["sha256"]:
        # An earlier attempt got this far and was killed before it could say so.
        return _registered(champion)
    now = champion.version if champion else None
    if now != judged_against:
        raise RegistryError(
            f"version {now} became champion of {name} after the challenger was judged against "
            f"{judged_against or 'none'}: run the pipeline again"
        )
    tags = lineage(metadata, read_json(folders["dataset"] / "manifest.json"), decision)
    if reason:
        tags[TRAINING_REASON] = reason
    with tempfile.TemporaryDirectory() as aside:
        package = Path(aside) / "model"
        package.mkdir()
        for file in (MODEL_FILE, METADATA_FILE):
            shutil.copy(folders["model"] / file, package)
        shutil.copy(folders["evaluation"] / "decision.json", package)
        shutil.copy(folders["evaluation"] / "model_card.md", package)
        shutil.copytree(folders["evaluation"] / "plots", package / "plots")
        write_json(package / GOLDEN_FILE, golden(folders["model"]))
        write_json(package / "lineage.json", tags)
        write_json(package / PACKAGES_FILE, installed_packages())
        tags[registry.FILES_SHA256] = registry.files_sha256(package)
        with reported(f"uploading the files of {name}", RegistryError):
            client.log_artifacts(run_id, str(package), "model")
    with reported(f"registering {name}", RegistryError):
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        made = registry.register(client, name, run_id, source, tags)
        registry.promote(client, name, made.version, " ".join(decision["reasons"]))
    return _registered(made)


def _registered(version: registry.ModelVersion) -> dict[str, Any]:
    return {"registered": True, "name": version.name, "version": version.version}


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    from mlflow import MlflowClient

    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        raise RegistryError(
            "MLFLOW_RUN_ID is not set: this step is run by a pipeline (`mlops run training`), which opens the run "
            "that the model's files are logged to"
        )
    folders = {name: getattr(arguments, name) for name in ("dataset", "model", "evaluation")}
    decision = read_json(arguments.evaluation / "decision.json")
    with whole_folder(arguments.output) as output:
        result = register_challenger(
            *(MlflowClient(), arguments.model_name, run_id, folders, decision),
            reason=arguments.reason,
        )
        write_json(output / REGISTRATION_FILE, {"decision": decision["decision"], **result})
    if result["registered"]:
        print(f"registered {result['name']} version {result['version']}: it is the champion now")
    else:
        print("not registered: the gate refused the challenger")


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.register.register_model", __doc__)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR")
    parser.add_argument("--evaluation", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model-name", required=True, metavar="NAME")
    parser.add_argument("--reason", metavar="TEXT", help="why it was trained, for the lineage")
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
