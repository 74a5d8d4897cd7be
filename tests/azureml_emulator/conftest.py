"""What the emulator's own tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.azureml_emulator.in_process import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An emulator in this process, with nothing in it yet."""
    running = Site(tmp_path_factory.mktemp("site"))
    yield running
    running.stop()
