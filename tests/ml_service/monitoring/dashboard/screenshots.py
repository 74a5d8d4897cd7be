"""Makes the pictures of the dashboard in the docs: ``python -m tests.ml_service.monitoring.dashboard.screenshots``."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.ml_service.monitoring.conftest import RunningSink
from tests.ml_service.monitoring.dashboard.generated import everything, operations
from tests.ml_service.monitoring.dashboard.test_page import wait

IMAGES = Path(__file__).resolve().parents[4] / "docs" / "images"
LENGTH = timedelta(hours=20)
SCROLL = """id => {
    const top = document.getElementById(id).closest('section, main').getBoundingClientRect().top;
    scrollBy(0, top - document.querySelector('header').offsetHeight - 12);
}"""
PICTURES = {
    "dashboard-light": (1280, 1150, "light", "tiles"),
    "dashboard-dark": (1280, 1150, "dark", "tiles"),
    "dashboard-phone": (390, 844, "light", "tiles"),
    "dashboard-performance": (1280, 800, "light", "gini"),
}
"""Width, height, colors, and what is scrolled to."""


def main() -> None:
    """Generate a day of telemetry, and take the pictures."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        sink = RunningSink(Path(home), operations=operations(now, LENGTH))
        sink.store.add(everything(now, LENGTH, timedelta(seconds=60)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, (width, height, scheme, shown) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page.goto(f"{sink.connection.endpoint}/#range=24h")
            wait(page, "document.getElementById('versions').innerText.includes('canary')")
            page.evaluate(SCROLL, shown)
            page.wait_for_timeout(500)
            path = IMAGES / f"{name}.png"
            page.screenshot(path=path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()
        sink.stop()


if __name__ == "__main__":
    main()
