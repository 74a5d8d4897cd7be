"""Routes of the emulator: patterns, calls and answers.

Azure's own addresses are not case sensitive, and most of them hold the path of a workspace: ``{ws}`` in a pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.azureml_emulator.context import Context, Workspace

WORKSPACE = (
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace>[^/]+)"
)
_PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers with, where a JSON document with status 200 is not enough."""

    status: int = 200
    body: Any = None
    """Sent as JSON, unless it is bytes; None sends nothing."""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_length: int | None = None
    """Of an answer to HEAD, whose body is not sent."""


class Refused(Exception):
    """A call that is answered with an error.

    Args:
        status: HTTP status.
        code: Azure's error code.
        message: for a person.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        # The client cannot print an error without details.
        error = {"code": code, "message": message, "details": []}
        self.answer = Answer(status, {"error": error})


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        context: the emulator's state, clock, faults and addresses.
        method: GET, POST, ...
        path: decoded, without the query.
        query: the last value of each name.
        raw_query: as it was sent.
        headers: names in lower case.
        body: as it was sent.
        match: what the pattern's placeholders hold.
        workspace: of a pattern with ``{ws}``.
    """

    context: Context
    method: str
    path: str
    query: Mapping[str, str]
    raw_query: str
    headers: Mapping[str, str]
    body: bytes
    match: Mapping[str, str]
    _workspace: Workspace | None

    @property
    def workspace(self) -> Workspace:
        """The workspace that the path names."""
        assert self._workspace is not None, "the route's pattern has no {ws}"
        return self._workspace

    @property
    def json(self) -> Any:
        """The body as JSON; an empty one is an empty object.

        Raises:
            Refused: it is not JSON.
        """
        if not self.body:
            return {}
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, "BadRequest", "the body is not JSON") from None


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a pattern, and what answers them.

    Attributes:
        method: GET, POST, ...
        pattern: the compiled pattern.
        text: the pattern as it was written.
        handler: answers.
        anonymous: needs no token: logging in, addresses that carry a signature.
    """

    method: str
    pattern: re.Pattern[str]
    text: str
    handler: Handler
    anonymous: bool


class Routes:
    """The routes of one service. Earlier ones win."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self, method: str, *patterns: str, anonymous: bool = False
    ) -> Callable[[Handler], Handler]:
        """Register a handler.

        Args:
            method: HTTP method.
            patterns: ``{name}`` is a part of the path, ``{name:path}`` any rest of it, ``{name:REGEX}`` what that
                matches, ``{ws}`` a workspace's path.
            anonymous: whether no token is needed.
        """

        def register(handler: Handler) -> Handler:
            for pattern in patterns:
                self.routes.append(Route(method, _compile(pattern), pattern, handler, anonymous))
            return handler

        return register


def _compile(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    for match in _PLACEHOLDER.finditer(pattern):
        parts.append(re.escape(pattern[position : match.start()]))
        name, kind = match[1], match[2]
        if name == "ws":
            parts.append(WORKSPACE)
        else:
            parts.append(f"(?P<{name}>{'.+' if kind == 'path' else kind or '[^/]+'})")
        position = match.end()
    parts.append(re.escape(pattern[position:]))
    return re.compile("".join(parts) + "/?", re.IGNORECASE)
