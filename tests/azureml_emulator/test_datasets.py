from __future__ import annotations

from typing import Any

import pytest

from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.settings import AzureSettings, Settings
from tests.azureml_emulator.process import EmulatorProcess


@pytest.fixture(scope="module")
def opened(azure: str) -> AzureWorkspace:
    """The module's workspace."""
    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


def files(opened: AzureWorkspace, path: str) -> Any:
    from azureml.core import Dataset

    return Dataset.File.from_files((opened.datastore, path), validate=False)


def test_versions_keep_their_own_tags_and_paths(opened: AzureWorkspace) -> None:
    from azureml.core import Dataset

    for number in (1, 2):
        files(opened, f"folder/{number}").register(
            opened.workspace, "versioned", tags={"number": str(number)}, create_new_version=True
        )
    for number in (1, 2):
        found = Dataset.get_by_name(opened.workspace, "versioned", number)
        assert (found.version, found.tags) == (number, {"number": str(number)})
        assert f"/paths/folder/{number}" in found._definition
    assert Dataset.get_by_name(opened.workspace, "versioned").version == 2


def test_a_name_that_is_taken_is_refused_without_a_new_version(opened: AzureWorkspace) -> None:
    files(opened, "a").register(opened.workspace, "taken")
    with pytest.raises(Exception, match="already a dataset registered under name"):
        files(opened, "b").register(opened.workspace, "taken")


def test_a_version_that_is_not_there_is_not_found(opened: AzureWorkspace) -> None:
    from azureml.core import Dataset

    files(opened, "a").register(opened.workspace, "short")
    for name, version in (("short", 2), ("nowhere", 1)):
        with pytest.raises(Exception, match="Cannot find dataset"):
            Dataset.get_by_name(opened.workspace, name, version)


def test_a_dataset_is_found_by_the_id_of_its_definition(opened: AzureWorkspace) -> None:
    from azureml.core import Dataset

    made = files(opened, "by/id").register(opened.workspace, "identified")
    found = Dataset.get_by_id(opened.workspace, made.id)
    assert (found.name, found.version) == ("identified", 1)
    with pytest.raises(Exception, match="Cannot find dataset"):
        Dataset.get_by_id(opened.workspace, "00000000-0000-0000-0000-000000000000")


def test_datasets_survive_a_restart(opened: AzureWorkspace, emulator: EmulatorProcess) -> None:
    from azureml.core import Dataset

    files(opened, "kept").register(opened.workspace, "kept", tags={"still": "here"})
    before, refused = emulator.calls()
    assert ([call for call in before if call["status"] == 501], refused) == ([], [])
    emulator.stop()
    emulator.start()
    assert Dataset.get_by_name(opened.workspace, "kept").tags == {"still": "here"}
