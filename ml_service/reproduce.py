"""Train a registered model again from its lineage alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.parameters import load_parameters
from insurance_claims.registry import MODEL_SHA256
from ml_service.platforms.base import Log, Platform
from ml_service.source import git_commit, lock_sha256


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of training again.

    Attributes:
        version: the model's.
        same: whether the model's text is the same, byte for byte.
        expected: sha256 of the registered model's text.
        actual: sha256 of the new one's.
        differences: what is not as it was then, in words: where the text differs, a cause is likely here.
    """

    version: int
    same: bool
    expected: str
    actual: str
    differences: tuple[str, ...]

    def describe(self) -> str:
        """The result in words."""
        lines = [
            f"version {self.version} reproduced: the same model text, sha256 {self.actual[:12]}"
            if self.same
            else f"version {self.version} NOT reproduced: sha256 {self.actual[:12]}, registered {self.expected[:12]}"
        ]
        return "\n".join(lines + [f"  note: {text}" for text in self.differences])


def reproduce(platform: Platform, version: int, log: Log) -> Reproduction:
    """Prepare and train with the data version, split and parameters that the lineage names.

    Raises:
        ClaimsError: the lineage is incomplete, the data version is gone or was changed, or a step failed.
    """
    model = platform.models.get(version)
    try:
        then = json.loads(model.tags["parameters"])
        expected = model.tags[MODEL_SHA256]
        name, number = model.tags["data_name"], model.tags["data_version"]
        data_sha256 = model.tags["data_sha256"]
    except KeyError as missing:
        raise ClaimsError(f"the lineage of version {version} does not say {missing}") from None
    data = platform.data.get(name, number)
    if data.sha256 != data_sha256:
        raise ClaimsError(
            f"{name} version {number} holds other rows now (sha256 {data.sha256[:12]}) than the model was trained on "
            f"({data_sha256[:12]})"
        )
    raw = platform.data.fetch(data)
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder)
        parameters = {**load_parameters().model_dump(mode="json"), **then}
        file = aside / "parameters.yml"
        file.write_text(yaml.safe_dump(parameters), encoding="utf-8")
        _step(["insurance_claims.data.prepare", "--raw", str(raw)], aside / "dataset", file, log)
        _step(
            ["insurance_claims.training.train", "--dataset", str(aside / "dataset")],
            aside / "model",
            file,
            log,
        )
        actual = str(read_json(aside / "model" / "model.json")["sha256"])
    now = {"git_commit": git_commit(), "lock_sha256": lock_sha256()}
    differences = tuple(
        f"{key} is {value[:12] or 'unknown'} now, was {model.tags.get(key, 'unknown')[:12]} then"
        for key, value in now.items()
        if value != model.tags.get(key, "")
    )
    if (engine := model.tags.get("engine", "local")) != "local":
        differences += (f"it was trained on {engine}, which does not give the same text twice",)
    return Reproduction(version, actual == expected, expected, actual, differences)


def _step(command: list[str], output: Path, parameters: Path, log: Log) -> None:
    words = [
        sys.executable,
        "-m",
        *command,
        "--output",
        str(output),
        "--parameters",
        str(parameters),
    ]
    # Tracked nowhere: it is a check, not an experiment.
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_RUN_ID"}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        log(line.rstrip())
    if process.wait() != 0:
        raise ClaimsError(f"{command[0]} failed: {lines[-1] if lines else 'it printed nothing'}")
