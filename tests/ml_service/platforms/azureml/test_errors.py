from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from insurance_claims.errors import DataError
from ml_service.platforms.azureml.errors import message, reason, retried, status, translated
from ml_service.platforms.base import PlatformError

# After the platform, which turns the SDK's telemetry off before it is imported.
from azureml.exceptions import ProjectSystemException, UserErrorException


def answered(code: int, body: Any) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = code
    response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.HTTPError(f"{code} for url", response=response)


def told(error: Exception) -> str:
    """The message that a person gets."""
    with pytest.raises(PlatformError) as caught, translated("doing it"):
        raise error
    return str(caught.value)


def test_a_mistake_of_our_own_is_not_blamed_on_azure() -> None:
    with pytest.raises(KeyError), translated("doing it"):
        raise KeyError("ours")


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(DataError, match="^row 3 is wrong$"), translated("doing it"):
        raise DataError("row 3 is wrong")


def test_the_innermost_message_of_the_answer_is_told() -> None:
    body = {"error": {"message": "Bad request.", "details": [{"message": "vmSize is unknown."}]}}
    assert told(answered(400, body)) == "doing it: Bad request: vmSize is unknown"


def test_json_inside_the_text_of_an_exception_is_read() -> None:
    text = json.dumps(
        {"error_details": {"error": {"message": "no such region"}}, "status_code": 400}
    )
    assert told(ProjectSystemException(text)) == "doing it: no such region"


def test_an_answer_that_is_not_json_leaves_the_exceptions_own_text() -> None:
    assert told(answered(400, b"<html>")) == "doing it: 400 for url"


def test_the_error_within_an_error_is_found() -> None:
    inner = answered(403, {"error": {"message": "no Microsoft.X/read"}})
    assert told(UserErrorException("outer", inner_exception=inner)) == (
        "doing it: this login may not do that (no Microsoft.X/read): give it a role on the workspace that allows it, "
        "such as AzureML Data Scientist"
    )


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (401, "log in again"),
        (403, "give it a role"),
        (429, "too many requests"),
        (500, "status 500"),
        (503, "try again"),
    ],
)
def test_each_status_says_what_to_do(code: int, advice: str) -> None:
    assert advice in reason(answered(code, {"error": {"message": "x"}}))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AADSTS7000215: Invalid client secret provided.", "SP_APP_SECRET is not"),
        ("AADSTS7000222: The provided client secret keys are expired.", "expired"),
        ("AADSTS90002: Tenant 'x' not found.", "check TENANT_ID"),
        ("AADSTS700213: No matching federated identity record found.", "federated credential"),
        ("AADSTS53003: Blocked by conditional access.", "Blocked by conditional access"),
    ],
)
def test_a_refused_login_says_which_variable_is_wrong(code: str, advice: str) -> None:
    assert advice in reason(UserErrorException(code))


def test_a_cut_network_names_the_host() -> None:
    error = requests.ConnectionError("HTTPSConnectionPool(host='ml.azure.test', port=443): refused")
    assert told(error) == "doing it: no answer from ml.azure.test: check the network and try again"


def test_errors_again_and_again_are_azures_failure_not_the_networks() -> None:
    assert "status 500" in reason(requests.exceptions.RetryError("too many 500 error responses"))


def test_no_secret_is_told() -> None:
    text = "GET https://x/y?sig=c2VjcmV0&se=1 with Bearer abc.def.ghi failed"
    assert "c2VjcmV0" not in message(UserErrorException(text))
    assert "abc.def" not in message(UserErrorException(text))


def test_a_message_is_one_line_of_bounded_length() -> None:
    said = message(UserErrorException("a\nb " * 1000))
    assert "\n" not in said
    assert len(said) < 700


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Error registering the environment definition. Code: 409\n: {}", 409),
        ("Received bad response from Resource Provider:\nResponse Code: 403\nHeaders: {}", 403),
        ('{"status_code": 404}', 404),
        ("it was 404 in the text", None),
    ],
)
def test_the_status_is_found_in_the_text_of_the_sdks_exceptions(
    text: str, code: int | None
) -> None:
    assert status(Exception(text)) == code


def test_what_passes_is_asked_again_and_what_does_not_is_not() -> None:
    answers = [answered(503, {}), answered(429, {}), "done"]
    waits: list[float] = []

    def ask() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retried(ask, waits.append) == "done"
    assert waits == sorted(waits) and len(waits) == 2

    answers.extend([answered(404, {}), "not asked"])
    with pytest.raises(requests.HTTPError):
        retried(ask, waits.append)
    assert answers == ["not asked"]


def test_asking_again_ends() -> None:
    calls = 0

    def ask() -> None:
        nonlocal calls
        calls += 1
        raise answered(500, {})

    with pytest.raises(requests.HTTPError):
        retried(ask, lambda _: None)
    assert calls == 4
