"""The page in a real browser: it shows what was sent, follows it, and nothing of it comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from insurance_claims.monitoring.observations import Observations
from tests.ml_service.monitoring.conftest import RunningSink
from tests.ml_service.monitoring.dashboard.generated import event, observations
from tests.ml_service.monitoring.dashboard.test_web import ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHARTS = (
    *("scores", "histogram", "shares", "requests", "errors", "latency", "refused"),
    *("drift", "gini", "calibration", "lift", "cpu", "memory", "training"),
)
LIVE = "#connection[data-state=live]"
LOST = "#connection[data-state=lost]"
CUT_OFF = """() => [...document.querySelectorAll('.chart text')].filter(text => {
    const inner = text.getBoundingClientRect();
    const outer = text.closest('.chart').getBoundingClientRect();
    return inner.width > 0 && (inner.bottom > outer.bottom + 1 || inner.top < outer.top - 1
        || inner.left < outer.left - 1 || inner.right > outer.right + 1);
}).map(text => `${text.closest('.chart').id}: ${text.textContent}`)"""
"""Texts of charts of which a part is outside."""

_GONE = "net::ERR_CONNECTION_REFUSED"


class Window:
    """A browser window, and what its pages say in the console and ask for."""

    def __init__(self, context: BrowserContext) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._context = context
        context.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.said.append(str(error.error)))
        context.on("request", lambda request: self.asked.append(request.url))

    @property
    def pages(self) -> list[Page]:
        """Those that are open."""
        return self._context.pages

    def open(self, sink: RunningSink, hash: str = "") -> Page:
        """A page that shows something."""
        page = self._context.new_page()
        page.goto(f"{sink.connection.endpoint}/{hash}")
        wait(page, "document.querySelectorAll('#tiles div').length > 0")
        return page


@pytest.fixture(scope="module")
def window(browser: Browser) -> Window:
    """One window for all tests: what was loaded once is in its cache."""
    return Window(browser.new_context(viewport={"width": 1280, "height": 800}))


@pytest.fixture(scope="module")
def first_page(window: Window, shown: RunningSink) -> Page:
    """The page over generated telemetry, opened once."""
    return window.open(shown)


@pytest.fixture
def page(first_page: Page, shown: RunningSink) -> Page:
    """The page over generated telemetry, showing the last hour."""
    _show_hour(first_page, shown)
    return first_page


@pytest.fixture(autouse=True)
def quiet(window: Window) -> Iterator[None]:
    """Nothing is in the console after a test, and nothing was asked for elsewhere."""
    window.said.clear()
    window.asked.clear()
    open_before = window.pages
    yield
    for page in window.pages:
        if page not in open_before:
            page.close()
    assert [text for text in window.said if not text.startswith("log") and _GONE not in text] == []
    urls = [url for url in window.asked if not url.startswith(("data:", "blob:"))]
    assert {urlsplit(url).hostname for url in urls} <= {"127.0.0.1"}


def wait(page: Page, script: str, argument: Any = None) -> None:
    """Wait until a script says true; playwright's own way to do that needs what the page's policy forbids."""
    for _ in range(300):
        if page.evaluate(script, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never became true that {script}; cut off: {page.evaluate(CUT_OFF)}")


def _traces(page: Page, chart: str) -> dict[str, dict[str, Any]]:
    """What plotly has of a chart: its traces by name."""
    script = (
        "id => (document.getElementById(id).data ?? []).map(({name, x, y}) => "
        "({name, x: [...x ?? []], y: [...y ?? []]}))"
    )
    return {trace["name"]: trace for trace in page.evaluate(script, chart)}


def _show_hour(page: Page, sink: RunningSink) -> None:
    page.goto(f"{sink.connection.endpoint}/#range=1h")
    wait(page, "document.getElementById('versions').innerText.includes('version 4')")


def _empty(page: Page, chart: str) -> str:
    return page.get_attribute(f"#{chart}", "data-empty") or ""


def test_every_chart_shows_what_was_sent(shown: RunningSink, page: Page) -> None:
    sent = ask(shown, "scoring", range="1h")
    for chart, field in (("scores", "score_mean"), ("requests", "requests"), ("errors", "errors")):
        traces = _traces(page, chart)
        for version, content in sent["versions"].items():
            trace = traces[f"version {version}"]
            drawn = dict(zip(trace["x"], trace["y"], strict=True))
            # Without the last steps, which go on, and the first, which the page may have left behind.
            expected = dict(list(zip(sent["times"], content[field], strict=True))[2:-2])
            same = {time: drawn[time] for time in expected if time in drawn}
            assert len(same) > 300 and same == {time: expected[time] for time in same}, chart
    latency = _traces(page, "latency")
    assert set(latency) == {f"version {v} p{q}" for v in (3, 4) for q in (50, 95, 99)}
    assert set(_traces(page, "shares")) == {"version 3", "version 4"}
    refused = _traces(page, "refused")["version 3"]
    assert sorted(refused["y"]) == ["column ps_car_13", "row"]
    assert dict(zip(refused["y"], refused["x"], strict=True)) == {
        reason: sent["versions"]["3"]["totals"]["refused"][reason] for reason in refused["y"]
    }
    assert _traces(page, "drift")["version 3"]["y"][-1] == "ps_car_13"
    assert set(_traces(page, "cpu")) == {"process 4711", "process 4712"}
    assert set(_traces(page, "training")) == {"completed", "failed"}
    assert all(page.get_attribute(f"#{chart}", "aria-label") for chart in CHARTS)
    tiles = page.inner_text("#tiles")
    total = sum(version["totals"]["requests"] for version in sent["versions"].values())
    assert f"{total:,}" in tiles and "1 fired" in tiles


def test_performance_is_drawn_with_what_it_is_compared_with(shown: RunningSink, page: Page) -> None:
    sent = ask(shown, "performance", range="1h")["versions"]
    for chart, field in (("gini", "gini"), ("calibration", "calibration_error"), ("lift", "lift")):
        traces = _traces(page, chart)
        for version, rows in sent.items():
            assert traces[f"version {version}"]["y"] == [row[field] for row in rows]
        lines = set(traces) - {f"version {version}" for version in sent}
        expected = {"gini": {"at registration", "limit"}, "calibration": {"by chance", "limit"}}
        assert lines == expected.get(chart, set())
    gini = _traces(page, "gini")
    for name, field in (("at registration", "gini_before"), ("limit", "gini_limit")):
        assert {y for y in gini[name]["y"] if y} == {row[field] for row in sent["3"]}
    # One line for both versions, each over its own time.
    ends = [x for x in gini["limit"]["x"] if x]
    assert ends[0] < sent["3"][0]["since"] and gini["limit"]["y"].count(None) == len(sent)
    low, high = page.evaluate(
        "(() => { const {array, arrayminus} = document.getElementById('gini').data.at(-1).error_y;"
        " return [arrayminus, array]; })()"
    )
    assert low == high == [pytest.approx(0.05)] * len(sent["4"])
    assert "version 4: newest 0.281" in (page.get_attribute("#gini", "aria-label") or "")


def test_tables_show_versions_rollout_runs_alerts_and_deployments(page: Page) -> None:
    versions = page.inner_text("#versions")
    assert "version 3, production" in versions and "version 4, canary" in versions
    assert "stage 2 of 3 (50%)" in page.inner_text("#rollout")
    assert "1.29 (1.20 to 1.40)" in page.inner_text("#figures")
    assert "ValidationError: column ps_ind_01 is gone" in page.inner_text("#runs")
    alerts = page.inner_text("#alerts")
    assert "1 fired now" in alerts and "drift (ps_car_13)" in alerts and "information" in alerts
    assert "rollout begun: version 4" in page.inner_text("#deployments")
    # Marks of this environment on the time axis, and none of staging.
    marks = page.evaluate(
        "document.getElementById('requests').layout.annotations.map(a => a.hovertext)"
    )
    assert sorted(mark[6:] for mark in marks) == ["deployed: version 3", "rollout begun: version 4"]
    lines = page.evaluate("document.getElementById('cpu').layout.shapes.map(s => s.y0)")
    assert 90 in lines


def test_what_was_sent_is_shown_as_text(window: Window, tmp_path: Path) -> None:
    sink = RunningSink(tmp_path)
    try:
        name = "<img src=x onerror=alert(1)>"
        said = {"name": name, "key": "", "severity": "1", "state": "fired", "reason": name}
        sink.store.add([event(datetime.now(UTC), "alert", **said)])
        page = window.open(sink)
        page.wait_for_selector("#alerts td")
        assert name in page.inner_text("#alerts") and page.query_selector("#alerts img") is None
    finally:
        sink.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_it_fits_and_can_be_read(page: Page, width: int, height: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": height})
    # A chart follows the window at once, its legend and axes with the next look.
    wait(page, f"document.documentElement.scrollWidth <= {width}")
    wait(
        page,
        "([width, ids]) => ids.every(id => { "
        "const size = document.getElementById(id).querySelector('svg').getBoundingClientRect().width; "
        "return size > 250 && size <= width; })",
        [width, list(CHARTS)],
    )
    wait(page, f"({CUT_OFF})().length === 0")
    for foreground in ("text", "soft", "bad", "good", "warn", "accent"):
        assert _contrast(page, foreground, "card") >= 4.5, foreground
    for number in range(1, 8):
        assert _contrast(page, f"series-{number}", "card") >= 3, number
    text = {"light": "#1a2230", "dark": "#e8ecf2"}[scheme]
    wait(page, "color => document.getElementById('requests').layout.font.color === color", text)


def test_two_pages_follow_what_comes_and_a_sink_that_ends_and_begins_again(
    window: Window, tmp_path: Path
) -> None:
    sink = RunningSink(tmp_path)
    pages = [window.open(sink), window.open(sink, "#range=15m")]
    for page in pages:
        assert {_empty(page, chart) != "" for chart in CHARTS} == {True}
        assert "No drift was computed: mlops monitor drift" in _empty(page, "drift")
        assert "mlops labels add FILE" in _empty(page, "gini")
    seen = Observations.of([5.0] * 7, [0.04] * 7)
    sink.store.add([observations(datetime.now(UTC) - timedelta(seconds=30), 5, seen)])
    for page in pages:
        wait(page, "document.getElementById('versions').innerText.includes('version 5')")
        assert [y for y in _traces(page, "scores")["version 5"]["y"] if y] == [pytest.approx(0.04)]
    port = int(sink.connection.endpoint.rpartition(":")[2])
    sink.stop()
    for page in pages:
        page.wait_for_selector(LOST)
        assert "no answer since" in page.inner_text("#connection")
        # What was shown stays.
        assert "version 5" in page.inner_text("#versions")
    again = RunningSink(tmp_path, port)
    again.store.add([observations(datetime.now(UTC) - timedelta(seconds=5), 6, seen)])
    try:
        for page in pages:
            page.wait_for_selector(LIVE)
            wait(page, "document.getElementById('versions').innerText.includes('version 6')")
    finally:
        again.stop()


def test_a_hidden_page_asks_for_nothing_and_goes_on_when_it_is_seen(page: Page) -> None:
    page.evaluate(
        "window.seen = false; Object.defineProperty(document, 'hidden', {get: () => !window.seen})"
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)
    assert asked == []
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    for _ in range(200):
        page.wait_for_timeout(50)
        if len(asked) >= 8:
            break
    assert len(asked) >= 8


def test_ranges_are_chosen_and_kept_in_the_address(
    shown: RunningSink, window: Window, page: Page
) -> None:
    for name, hours in (("15m", 0.25), ("24h", 24), ("7d", 168)):
        page.click(f"[data-range='{name}']")
        wait(
            page,
            "hours => { const [a, b] = document.getElementById('cpu').layout.xaxis.range.map(x => +new Date(x)); "
            "return Math.abs((b - a) / 3.6e6 / hours - 1) < 0.05; }",
            hours,
        )
        assert f"range={name}" in page.url
        assert page.get_attribute(f"[data-range='{name}']", "aria-pressed") == "true"
    page.click("[data-range=custom]")
    page.fill("#since", "2026-01-01T00:00")
    page.fill("#until", "2026-01-02T00:00")
    page.click("#custom [type=submit]")
    wait(page, "document.getElementById('requests').dataset.empty")
    assert "since=2026-01-01" in page.url
    page.fill("#until", "2025-01-02T00:00")
    page.click("#custom [type=submit]")
    page.wait_for_selector("#notices .bad")
    assert "since has to be before until" in page.inner_text("#notices")
    page.reload()
    assert page.input_value("#since") == "2026-01-01T00:00"
    _show_hour(page, shown)
    # The browser itself tells of the answers that refuse the range.
    window.said[:] = [text for text in window.said if "status of 400" not in text]


def test_an_environment_is_chosen(page: Page) -> None:
    page.select_option("#environment", "staging")
    wait(page, "!document.getElementById('versions').innerText.includes('version 4')")
    assert "version 3" in page.inner_text("#versions")


def test_a_clock_that_is_ahead_is_said(window: Window, tmp_path: Path) -> None:
    sink = RunningSink(tmp_path)
    try:
        ahead = datetime.now(UTC) + timedelta(hours=5)
        sink.store.add([observations(ahead, 1, Observations.of([1.0], [0.1]))])
        page = window.open(sink)
        wait(page, "document.getElementById('notices').innerText.includes('clock is ahead')")
        assert "version 1" not in page.inner_text("#versions")
    finally:
        sink.stop()


def _contrast(page: Page, foreground: str, background: str) -> float:
    """Of two colors of the page, as WCAG 2 defines it."""
    luminances = []
    for name in (foreground, background):
        text = page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()",
            f"--{name}",
        )
        parts = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)
