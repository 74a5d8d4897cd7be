"""A sink whose dashboard shows generated telemetry, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.store import Store
from tests.ml_service.monitoring.conftest import RunningSink
from tests.ml_service.monitoring.dashboard.generated import everything, operations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LENGTH = timedelta(minutes=50)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSink]:
    """A sink with telemetry of the last fifty minutes."""
    now = datetime.now(UTC)
    home = tmp_path_factory.mktemp("shown")
    # Before it begins, so that its sums begin with it.
    Store(folder_of(home)).add(everything(now, LENGTH, timedelta(seconds=10)))
    sink = RunningSink(home, operations=operations(now, LENGTH))
    yield sink
    sink.stop()


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium: the system's, or the one that playwright installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(found).exists():
            pytest.skip(
                "there is no Chromium: `apt-get install chromium`, or `.venv/bin/playwright install chromium`"
            )
        running = playwright.chromium.launch(executable_path=found)
        # Playwright switches stacks, after which Python 3.11 cannot parse source as pytest does to show a failure.
        style, request.config.option.tbstyle = request.config.option.tbstyle, "native"
        yield running
        request.config.option.tbstyle = style
        running.close()
