"""A model folder that somebody tampered with is refused wherever it is read: by deployment, scoring and the gate."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from insurance_claims import registry
from insurance_claims.errors import ModelError
from insurance_claims.evaluate.champion import load_champion
from insurance_claims.files import sha256_of_file
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.registered import load_registered
from ml_service.platforms.local.platform import LocalPlatform
from tests.insurance_claims.register.test_register_model import NAME
from tests.security.conftest import Refuse


def swap(folder: Path) -> None:
    """Another model, with a model.json that belongs to it."""
    text = (folder / "model.txt").read_text().replace("learning_rate: 0.1", "learning_rate: 0.2")
    (folder / "model.txt").write_text(text)
    metadata = json.loads((folder / "model.json").read_text())
    metadata["sha256"] = sha256_of_file(folder / "model.txt")
    (folder / "model.json").write_text(json.dumps(metadata))


def append(file: Path) -> None:
    """A change that no reader of the file would notice."""
    file.write_text(file.read_text() + "\n")


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed model": (lambda folder: append(folder / "model.txt"), "sha256 of its model.txt"),
    "another model": (swap, "sha256 of its model.txt"),
    "changed metadata": (lambda folder: append(folder / "model.json"), "its files together"),
    "changed golden rows": (lambda folder: append(folder / "golden.json"), "its files together"),
    "added file": (lambda folder: (folder / "more.txt").write_text(""), "its files together"),
    "renamed file": (
        lambda folder: (folder / "lineage.json").rename(folder / "line.json"),
        "its files together",
    ),
    "removed file": (lambda folder: (folder / "golden.json").unlink(), "its files together"),
    "no model": (lambda folder: (folder / "model.txt").unlink(), "no model.txt"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_stored_files_that_were_tampered_with_are_refused(
    registered: LocalPlatform, stored: Path, refuse: Refuse, name: str
) -> None:
    tamper, reason = TAMPERED[name]
    tamper(stored)
    said = refuse("deploy", "staging")
    assert "not the model that was registered as version 1" in said
    assert reason in said
    assert list(registered.endpoints.list()) == []
    assert not registered.documents.names("audit")
    with pytest.raises(ModelError, match=reason):
        load_registered(NAME, "champion")
    with pytest.raises(ModelError, match=reason):
        load_champion(None, NAME)


def test_a_local_copy_that_was_tampered_with_is_refused(
    registered: LocalPlatform, refuse: Refuse
) -> None:
    folder = registered.models.fetch(1)
    append(folder / "golden.json")
    assert "remove it to fetch it again" in refuse("models", "show", 1)
    shutil.rmtree(folder)
    assert load_model(registered.models.fetch(1)).metadata["parameters"] == {"seed": 1}


def test_versions_without_a_checksum_of_all_files_are_known_by_their_model(
    stored: Path,
) -> None:
    folder = stored
    tags = {registry.MODEL_SHA256: sha256_of_file(folder / "model.txt")}
    append(folder / "golden.json")
    assert registry.files_problem(folder, tags) is None
    append(folder / "model.txt")
    assert "sha256 of its model.txt" in str(registry.files_problem(folder, tags))
    assert "the registry says nothing" in str(registry.files_problem(folder, {}))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (open, (f"{self.trace}", "w"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["model.pkl", "plots/model.joblib", "MLmodel", ".hidden"])
def test_a_pickle_in_a_model_folder_is_refused_and_not_loaded(
    stored: Path, tmp_path: Path, name: str
) -> None:
    folder = stored
    assert load_model(folder)
    (folder / "plots").mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(ModelError, match=f"holds {name}, which is no part of a model"):
        load_model(folder)
    assert not (tmp_path / "trace").exists()


def test_a_pickle_in_the_place_of_the_model_is_refused_and_not_loaded(
    stored: Path, tmp_path: Path
) -> None:
    folder = stored
    (folder / "model.txt").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    metadata = json.loads((folder / "model.json").read_text())
    metadata["sha256"] = sha256_of_file(folder / "model.txt")
    (folder / "model.json").write_text(json.dumps(metadata))
    with pytest.raises(ModelError, match="is not a LightGBM model"):
        load_model(folder)
    assert not (tmp_path / "trace").exists()
