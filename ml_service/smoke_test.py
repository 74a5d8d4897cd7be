"""Does an endpoint do what it promises? Asked over HTTP alone, so the same test serves every platform.

Every check is made and reported, whatever the others find; only where nothing answers at all are the others not tried.
The key is never part of a report.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json

if TYPE_CHECKING:
    import aiohttp

GOLDEN_FILE = "golden.json"
TOLERANCE = 1e-9
"""How far a golden prediction may be off: what JSON and another machine's arithmetic may do, and no more."""

_AT_ONCE = 4
_NOT_YET = (502, 503, 504)
_PAUSE_SECONDS = 0.5
_SHOWN = 200


class SmokeTestError(ClaimsError):
    """The smoke test cannot be made."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows and the scores that they were given when the model was registered."""

    rows: Sequence[Sequence[float]]
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Of sequential requests with one row, in milliseconds."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """What the smoke test found."""

    checks: Sequence[Check]
    latency: Latency | None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def describe(self) -> str:
        """A line a check, for a person to read."""
        lines = [
            f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}"
            for check in self.checks
        ]
        if self.latency:
            found = self.latency
            lines.append(
                f"     latency of {found.requests} single rows: p50 {found.p50_ms:.1f} ms, "
                f"p95 {found.p95_ms:.1f} ms, p99 {found.p99_ms:.1f} ms"
            )
        failed = sum(not check.passed for check in self.checks)
        total = len(self.checks)
        lines.append(
            f"{failed} of {total} checks failed" if failed else f"all {total} checks passed"
        )
        return "\n".join(lines)


def load_golden(path: Path) -> Golden:
    """Read golden.json: ``{"rows": [[57 numbers], ...], "scores": [...]}``.

    Raises:
        SmokeTestError: it is missing or not of this form.
    """
    try:
        content = read_json(path)
    except ClaimsError as error:
        raise SmokeTestError(f"golden predictions cannot be read: {error}") from None
    width = len(schema.FEATURE_NAMES)
    try:
        rows, scores = content["rows"], content["scores"]
        if not rows or len(rows) != len(scores):
            raise ValueError(f"{len(rows)} rows, {len(scores)} scores")
        for position, row in enumerate(rows):
            if len(row) != width or not all(_is_number(value) for value in row):
                raise ValueError(f"row {position} does not hold {width} numbers")
        if not all(_is_number(score) for score in scores):
            raise ValueError("a score is no number")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SmokeTestError(f"{path} does not hold golden predictions: {reason}") from None
    return Golden(rows, scores)


def smoke_test(
    endpoint_url: str,
    key: str,
    golden: Golden | None,
    expected_version: int | None,
    log: Callable[[str], None],
    *,
    timeout_s: float = 10.0,
    start_timeout_s: float = 60.0,
    latency_requests: int = 200,
) -> SmokeReport:
    """Test an endpoint.

    Args:
        endpoint_url: scoring address, ``http://host:port/score`` or https.
        key: bearer key.
        golden: predictions that must come back; None leaves that check out.
        expected_version: of the model that must answer; None leaves that check out.
        log: takes lines on progress.
        timeout_s: for each request.
        start_timeout_s: how long to wait for an endpoint that does not answer yet.
        latency_requests: single rows, one after another; at least 2.

    Raises:
        SmokeTestError: the address is none.
    """
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SmokeTestError(
            f"{endpoint_url!r} is no address of an endpoint: http://host:port/score"
        )
    report = asyncio.run(
        _test(
            endpoint_url,
            key,
            golden,
            expected_version,
            log,
            timeout_s,
            start_timeout_s,
            latency_requests,
        )
    )
    # An endpoint that repeats what it was sent must not get the key into a log.
    checks = [
        replace(check, detail=check.detail.replace(key, "***") if key else check.detail)
        for check in report.checks
    ]
    return replace(report, checks=checks)


def example_rows(count: int) -> list[list[float]]:
    """Legal rows made from the schema alone, shape (count, 57): each walks every feature's range at its own pace."""
    return [
        [
            _between(column, (row * (position + 3)) % 7 / 6)
            for position, column in enumerate(schema.FEATURES)
        ]
        for row in range(count)
    ]


def bad_requests() -> dict[str, bytes]:
    """Bodies that must be answered with 400, by what is wrong with them."""
    [row] = example_rows(1)
    named = dict(zip(schema.FEATURE_NAMES, row, strict=True))
    first = schema.FEATURE_NAMES[0]
    incomplete = {name: value for name, value in named.items() if name != first}

    def with_first(literal: str) -> bytes:
        return f'{{"data": [[{literal}, {", ".join(map(str, row[1:]))}]]}}'.encode()

    return {
        "not JSON": b"one, two, three",
        "an empty body": b"",
        "no data": b'{"rows": [[1]]}',
        "data that is no list": b'{"data": 7}',
        "an empty list": b'{"data": []}',
        "a row too short": json.dumps({"data": [row[:-1]]}).encode(),
        "a row too long": json.dumps({"data": [[*row, 0]]}).encode(),
        "text for a number": with_first('"two"'),
        "null": with_first("null"),
        "NaN": with_first("NaN"),
        "Infinity": with_first("Infinity"),
        "a nested list": with_first("[1]"),
        "an unknown name": json.dumps({"data": [{**named, "ps_unknown": 1}]}).encode(),
        "a missing name": json.dumps({"data": [incomplete]}).encode(),
    }


class _NoAnswer(Exception):
    """A request got no answer, or one that is not what it has to be."""


@dataclass(frozen=True, slots=True)
class _Client:
    """Sends requests to one endpoint."""

    session: aiohttp.ClientSession
    url: str
    key: str

    async def send(
        self, method: str, body: bytes | None, key: str | None = None, url: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer. ``key``: another one; an empty one sends none."""
        import aiohttp

        used = self.key if key is None else key
        headers = {"Content-Type": "application/json"}
        if used:
            headers["Authorization"] = f"Bearer {used}"
        try:
            # A redirect would take the key elsewhere.
            async with self.session.request(
                method, url or self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except TimeoutError:
            raise _NoAnswer("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _NoAnswer(f"no answer: {error or type(error).__name__}") from None

    async def score(self, data: Any) -> dict[str, Any]:
        """The JSON object that answers a good request."""
        status, body = await self.send("POST", json.dumps({"data": data}).encode())
        if status != 200:
            raise _NoAnswer(f"a good request was answered with {status}: {_shown(body)}")
        content = _parse(body)
        if not isinstance(content, dict) or not isinstance(content.get("result"), list):
            raise _NoAnswer(f'the answer has no list "result": {_shown(body)}')
        return content


async def _test(
    url: str,
    key: str,
    golden: Golden | None,
    expected_version: int | None,
    log: Callable[[str], None],
    timeout_s: float,
    start_timeout_s: float,
    latency_requests: int,
) -> SmokeReport:
    # Imported here: it takes a quarter of a second that a command's --help need not wait for.
    import aiohttp

    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        # A proxy of the environment knows the way out, not the way back to this machine.
        trust_env=urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"),
    ) as session:
        client = _Client(session, url, key)
        checks = _checks(client, golden, expected_version)
        log(f"waiting until {url} answers")
        problem = await _wait(client, start_timeout_s, log)
        if problem:
            first, *others = checks
            failed = Check(first, False, f"{problem}; tried for {start_timeout_s:g} s")
            untried = [Check(name, False, "not tried: nothing answers") for name in others]
            return SmokeReport([failed, *untried], None)
        log(f"making {len(checks)} checks")
        limit = asyncio.Semaphore(_AT_ONCE)
        made = await asyncio.gather(*(_check(name, check, limit) for name, check in checks.items()))
        latency = None
        if all(check.passed for check in made if check.name in ("health", "shape")):
            log(f"timing {latency_requests} single rows")
            measured, latency = await _latency(client, latency_requests)
            made.append(measured)
        return SmokeReport(made, latency)


async def _wait(client: _Client, seconds: float, log: Callable[[str], None]) -> str | None:
    """Wait for the first answer to a scoring request; the reason where none comes in time."""
    end = time.monotonic() + seconds
    body = json.dumps({"data": example_rows(1)}).encode()
    told = False
    while True:
        try:
            async with asyncio.timeout(max(end - time.monotonic(), 0.1)):
                status, content = await client.send("POST", body)
        except _NoAnswer as error:
            problem = str(error)
        except TimeoutError:
            problem = "no answer in time"
        else:
            if status not in _NOT_YET:
                return None
            problem = f"the endpoint answers {status}: {_shown(content)}"
        if time.monotonic() + _PAUSE_SECONDS > end:
            return problem
        if not told:
            log("no answer yet: trying again")
            told = True
        await asyncio.sleep(_PAUSE_SECONDS)


_Found = Callable[[], Awaitable[str]]


def _checks(
    client: _Client, golden: Golden | None, expected_version: int | None
) -> dict[str, _Found]:
    """All checks by name. Each returns what it found, or raises _NoAnswer with what is wrong."""
    checks: dict[str, _Found] = {
        "health": lambda: _health(client),
        "shape": lambda: _shape(client),
        "request by name": lambda: _forms(client),
        "no key": lambda: _refuses(client, 401, b"", key=""),
        "wrong key": lambda: _refuses(client, 401, b"", key=secrets.token_urlsafe(32)),
    }
    if expected_version is not None:
        checks["model version"] = lambda: _version(client, expected_version)
    if golden is not None:
        checks["golden predictions"] = lambda: _golden(client, golden)
    for name, body in bad_requests().items():
        checks[f"refuses {name}"] = partial(_refuses, client, 400, body)
    return checks


async def _check(name: str, check: _Found, limit: asyncio.Semaphore) -> Check:
    async with limit:
        try:
            return Check(name, True, await check())
        except _NoAnswer as error:
            return Check(name, False, str(error))


async def _health(client: _Client) -> str:
    status, body = await client.send("GET", None, url=client.url.removesuffix("score"))
    if status != 200:
        raise _NoAnswer(f"GET / was answered with {status}: {_shown(body)}")
    return "answers"


async def _shape(client: _Client) -> str:
    facts = schema.PROBLEM.facts
    for count in (1, 2, 7):
        scores = (await client.score(example_rows(count)))["result"]
        if len(scores) != count:
            raise _NoAnswer(f"{count} rows were answered with {len(scores)} scores")
        wrong = [s for s in scores if not (_is_number(s) and 0 <= s <= facts.largest)]
        if wrong:
            raise _NoAnswer(f"{wrong[0]!r} is no {facts.score}")
    return f"as many {facts.scores} as rows"


async def _forms(client: _Client) -> str:
    rows = example_rows(3)
    in_order = (await client.score(rows))["result"]
    named = [dict(zip(schema.FEATURE_NAMES, row, strict=True)) for row in rows]
    # In another order than the schema's, which must not matter.
    reverse = [dict(reversed(row.items())) for row in named]
    by_name = (await client.score(reverse))["result"]
    _compare(by_name, in_order, "rows by name and the same rows in order")
    return "rows by name and rows in order get the same scores"


async def _version(client: _Client, expected: int) -> str:
    model = (await client.score(example_rows(1))).get("model")
    found = model.get("version") if isinstance(model, Mapping) else None
    if str(found) != str(expected):
        raise _NoAnswer(f"version {found} answers, expected {expected}")
    return f"version {expected} answers"


async def _golden(client: _Client, golden: Golden) -> str:
    scores = (await client.score(golden.rows))["result"]
    _compare(scores, golden.scores, "scores now and at registration")
    return f"{len(golden.scores)} scores are those of registration"


async def _refuses(client: _Client, expected: int, body: bytes, key: str | None = None) -> str:
    if key is not None:
        body = json.dumps({"data": example_rows(1)}).encode()
    status, answer = await client.send("POST", body, key)
    if status != expected:
        raise _NoAnswer(f"answered with {status}, expected {expected}: {_shown(answer)}")
    if expected == 401:
        return "answered with 401"
    try:
        reason = _parse(answer)["error"]["message"]
    except (KeyError, TypeError):
        reason = None
    if not isinstance(reason, str) or not reason.strip():
        raise _NoAnswer(
            f"answered with {expected} but no reason in error.message: {_shown(answer)}"
        )
    return f"answered with {expected}: {reason[:_SHOWN]}"


async def _latency(client: _Client, requests: int) -> tuple[Check, Latency | None]:
    rows = example_rows(50)
    times = []
    try:
        for number in range(requests):
            began = time.perf_counter()
            await client.score([rows[number % len(rows)]])
            times.append(1000 * (time.perf_counter() - began))
    except _NoAnswer as error:
        return Check("requests in a row", False, f"request {len(times) + 1}: {error}"), None
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    latency = Latency(requests, statistics.median(times), cuts[94], cuts[98])
    return Check("requests in a row", True, f"{requests} were answered"), latency


def _compare(found: Sequence[Any], expected: Sequence[float], what: str) -> None:
    if len(found) != len(expected):
        raise _NoAnswer(f"{what} differ: {len(found)} scores for {len(expected)}")
    for position, (one, other) in enumerate(zip(found, expected, strict=True)):
        if not (_is_number(one) and abs(one - other) <= TOLERANCE):
            raise _NoAnswer(f"{what} differ: row {position} has {one!r} for {other!r}")


def _parse(body: bytes) -> Any:
    def refuse(literal: str) -> NoReturn:
        raise ValueError(f"{literal} is no JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except ValueError as error:
        raise _NoAnswer(f"the answer is not JSON ({error}): {_shown(body)}") from None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _between(column: schema.Column, share: float) -> float:
    value = column.minimum + share * (column.maximum - column.minimum)
    return round(value) if column.is_integer else round(value, 4)


def _shown(body: bytes) -> str:
    text = " ".join(body[:4000].decode("utf-8", "replace").split())
    return text[:_SHOWN] or "(empty)"
