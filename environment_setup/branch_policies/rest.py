"""Calls of a REST API with a token from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from environment_setup.branch_policies.policies import PolicyError

_SECONDS = 30
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Api:
    """A REST API.

    Args:
        base: its address.
        headers: of every call; one of them logs in.
    """

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(base)
        if parts.username or parts.query:
            raise PolicyError("the address carries a secret: put the token into the environment")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise PolicyError(f"{base} has to begin with https://: the token would be readable")
        self._base = base.rstrip("/")
        self._headers = headers

    def call(self, method: str, path: str, body: Any = None) -> tuple[Any, Mapping[str, str]]:
        """The answer and its headers.

        Args:
            method: GET, POST or PUT.
            path: below the base, with its query.
            body: sent as JSON.

        Raises:
            PolicyError: the server does not answer, or refuses.
        """
        what = f"{method} {self._base}{path}"
        try:
            answer = requests.request(
                method,
                self._base + path,
                json=body,
                auth=self._log_in,
                timeout=_SECONDS,
                # A server that does not take the token leads to a page to log in.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise PolicyError(f"{what}: no answer: {type(error).__name__}") from None
        if answer.status_code in (401, 203, 302):
            raise PolicyError(
                f"{what}: the token is not accepted: is it of this organization, and not expired?"
            )
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not 200 <= answer.status_code < 300:
            said = content.get("message") if isinstance(content, dict) else None
            raise PolicyError(
                f"{what}: {_REASONS.get(answer.status_code, answer.status_code)}: {said or answer.reason}"
            )
        if content is None:
            raise PolicyError(f"{what}: what answers there is no API: it sent no JSON")
        return content, answer.headers

    def _log_in(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As authentication, not as headers: requests would put what a .netrc says over those.
        request.headers.update(self._headers)
        return request


_REASONS = {
    301: "it has moved: use its new name",
    403: "the token may not do this: it has to be allowed to change the policies of the repository",
    404: "there is no such thing, or the token may not see it",
}


def token(names: Sequence[str]) -> str:
    """The first of these environment variables that is set.

    Raises:
        PolicyError: none of them is.
    """
    for name in names:
        if value := os.environ.get(name):
            return value
    raise PolicyError(f"there is no token: set the environment variable {' or '.join(names)}")
