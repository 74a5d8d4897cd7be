"""What Azure's libraries raise, as one clear message: what failed, why, and what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from insurance_claims.errors import ClaimsError
from ml_service.platforms.base import PlatformError

_LIBRARIES = frozenset(
    "azureml azure msrest msrestazure msal adal requests urllib3 mlflow aiohttp".split()
)
_STATUS = re.compile(r'(?:"status_code":|Response Code:|\bCode:|StatusCode:)\s*(\d{3})\b')
_LOGIN = re.compile(r"\bAADSTS(\d+)")
_HOST = re.compile(r"host='([^']+)'|https?://([^/:\s'\"]+)")
_TOO_MANY_ERRORS = re.compile(r"too many (\d{3}) error responses")
_SECRET = re.compile(r"(?<=[?&]sig=)[^&\s\"']+|(?<=Bearer )[-\w.~+/=]+")
_LONGEST = 600
_PASSES = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 4

# What people meet of https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_LOGIN_ADVICE = {
    "7000215": "SP_APP_SECRET is not this application's secret: copy its value (not its id), or make a new one",
    "7000222": "the secret in SP_APP_SECRET has expired: make a new one under the application's certificates & secrets",
    "700016": "the tenant has no application with this id: check SP_APP_ID and TENANT_ID",
    "90002": "there is no such tenant: check TENANT_ID",
    "900023": "there is no such tenant: check TENANT_ID",
    "70021": "no federated credential of the application fits this token: compare issuer, subject and audience",
    "700213": "no federated credential of the application fits this token: compare issuer, subject and audience",
    "700212": "no federated credential of the application fits this token: its audience is another",
    "700024": "the identity token has expired: start the job again",
    "50173": "the login was withdrawn: run `az login` again",
    "700082": "the login has expired: run `az login` again",
}
_Result = TypeVar("_Result")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what Azure's libraries raise in the block into a PlatformError.

    Errors of this project pass as they are, and so does a mistake in its own code.

    Args:
        what: was being done, as the message's beginning: ``deploying to staging``.

    Raises:
        PlatformError: one message: what, why, and what to do.
    """
    try:
        yield
    except ClaimsError:
        raise
    except Exception as error:
        if not _is_of_azure(error):
            raise
        raise PlatformError(f"{what}: {reason(error)}") from error


def retried(call: Callable[[], _Result], wait: Callable[[float], None] = time.sleep) -> _Result:
    """Call again where Azure answers 429 or 5xx: some parts of the SDK do not do so themselves.

    Args:
        call: may be repeated without harm.
        wait: takes seconds.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except Exception as error:
            if status(error) not in _PASSES:
                raise
            wait(0.5 * 2**attempt)
    return call()


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, where there is one."""
    for item in _chain(error):
        answer = getattr(item, "response", None)
        for holder in (answer, item):
            code = getattr(holder, "status_code", None)
            if isinstance(code, int):
                return code
        if match := _STATUS.search(_text(item)):
            return int(match[1])
    return None


def passes(error: BaseException) -> bool:
    """Whether an error may be gone when the same is tried again: the network, or a service that is busy or fails."""
    code = status(error)
    if code is None:
        return any(_is_of_network(item) for item in _chain(error))
    return code in _PASSES


def reason(error: BaseException) -> str:
    """Why, and what to do, in one line."""
    texts = [_text(item) for item in _chain(error)]
    for text in texts:
        if match := _LOGIN.search(text):
            advice = _LOGIN_ADVICE.get(match[1], "the login was refused")
            return f"{advice} (AADSTS{match[1]}: {_line(text.partition(match[0])[2].lstrip(': '))})"
    everything = " ".join(texts)
    code = status(error)
    if match := _TOO_MANY_ERRORS.search(everything):
        return _failing(int(match[1]), "asked several times")
    if code is None and any(_is_of_network(item) for item in _chain(error)):
        match = _HOST.search(everything)
        host = next(filter(None, match.groups())) if match else "Azure"
        return f"no answer from {host}: check the network and try again"
    said = message(error)
    if code == 401:
        return f"the login was not accepted ({said}): log in again, or check the variables of the login"
    if code == 403:
        return (
            f"this login may not do that ({said}): give it a role on the workspace that allows it,"
            " such as AzureML Data Scientist"
        )
    if code == 429:
        return f"Azure answers that there are too many requests ({said}): try again in some minutes"
    if code is not None and code >= 500:
        return _failing(code, said)
    return said


def message(error: BaseException) -> str:
    """The innermost readable message of an error, in one line."""
    chain = list(_chain(error))
    for item in reversed(chain):
        if said := _from_body(item) or _from_json(_text(item)):
            return _line(said)
    return _line(_text(chain[0])) or type(error).__name__


def _failing(code: int, said: str) -> str:
    return f"Azure failed with status {code} ({said}): try again; if it stays, see https://status.azure.com"


def _is_of_azure(error: BaseException) -> bool:
    if isinstance(error, OSError) or any(_library(item) for item in _chain(error)):
        return True
    # Parts of the SDK raise a bare Exception or ValueError: where it was raised tells.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__", "")) if trace else ""
    return name.partition(".")[0] in _LIBRARIES


def _library(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _LIBRARIES


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint(
        {"ConnectionError", "Timeout", "MaxRetryError", "ProtocolError", "ClientRequestError"}
        | {"ServiceRequestError", "ServiceResponseError", "IncompleteRead", "ChunkedEncodingError"}
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = getattr(current, "inner_exception", None)
        current = (
            inner if isinstance(inner, BaseException) else current.__cause__ or current.__context__
        )


def _text(error: BaseException) -> str:
    said = getattr(error, "message", None)
    return said if isinstance(said, str) and said else str(error)


def _from_body(error: BaseException) -> str | None:
    """The message in the answer that an error carries."""
    answer = getattr(error, "response", None)
    body = getattr(answer, "text", None)
    try:
        text = body() if callable(body) else body
    except Exception:
        # The answer was a stream that is closed by now: there is nothing to read in it.
        return None
    return _from_json(text) if isinstance(text, str) else None


def _from_json(text: str) -> str | None:
    """The innermost message of the first JSON object in a text."""
    start = text.find("{")
    while start != -1:
        try:
            content, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            start = text.find("{", start + 1)
            continue
        return _innermost(content)
    return None


def _innermost(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    lower = {str(key).lower(): value for key, value in content.items()}
    for key in ("error_details", "error", "innererror", "inner_error"):
        if deeper := _innermost(lower.get(key)):
            return deeper
    details = lower.get("details")
    listed = details if isinstance(details, list) else []
    deeper = "; ".join(filter(None, (_innermost(item) for item in listed)))
    said = lower.get("message") or lower.get("error_description")
    own = said if isinstance(said, str) else ""
    return ": ".join(filter(None, (own.rstrip(".: ") if deeper else own, deeper))) or None


def _line(text: str) -> str:
    """One line of bounded length without secrets."""
    line = _SECRET.sub("...", " ".join(text.split()))
    return (line if len(line) <= _LONGEST else line[:_LONGEST] + "...").rstrip(" .:")
