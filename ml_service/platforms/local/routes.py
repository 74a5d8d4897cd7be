"""routes.json: which model versions the router knows, where they listen, and their share of the requests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, write_json

ROUTES_FILE = "routes.json"
KEY_FILE = "key"


class RoutesError(ClaimsError):
    """routes.json cannot be used."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One model version's server: its port on loopback and its weight, a whole number of at least 0."""

    port: int
    weight: int


@dataclass(frozen=True, slots=True)
class Routes:
    """What routes.json holds.

    Attributes:
        revision: grows by one with every change.
        backends: by model version; none where nothing is deployed yet.
    """

    revision: int
    backends: Mapping[int, Backend]

    def choose(self, rng: random.Random) -> int:
        """A version at random, by weight. There has to be one with a weight above 0."""
        versions = list(self.backends)
        if len(versions) == 1:
            return versions[0]
        weights = [backend.weight for backend in self.backends.values()]
        return rng.choices(versions, weights)[0]

    def traffic(self) -> dict[int, int]:
        """The versions that get requests, and their weights."""
        return {
            version: backend.weight for version, backend in self.backends.items() if backend.weight
        }


def read_routes(path: Path) -> Routes:
    """Read and check routes.json.

    Raises:
        RoutesError: it is missing, not JSON, or not of this form.
    """
    try:
        content = read_json(path)
    except (ClaimsError, OSError) as error:
        raise RoutesError(str(error)) from None
    try:
        revision, listed = content["revision"], content["backends"]
        backends = {int(version): _backend(entry) for version, entry in listed.items()}
        if isinstance(revision, bool) or not isinstance(revision, int):
            raise ValueError("revision is no whole number")
        if backends and not any(backend.weight for backend in backends.values()):
            raise ValueError("every weight is 0")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RoutesError(f"{path} is not a file of routes: {reason}") from None
    return Routes(revision, backends)


def write_routes(path: Path, routes: Routes) -> None:
    """Write routes.json whole, so that a reader never sees half of it."""
    backends = {
        str(version): {"port": backend.port, "weight": backend.weight}
        for version, backend in sorted(routes.backends.items())
    }
    write_json(path, {"revision": routes.revision, "backends": backends})


def _backend(entry: Any) -> Backend:
    port, weight = entry["port"], entry["weight"]
    if not _whole(port, 1, 65535):
        raise ValueError(f"port {port!r} is not between 1 and 65535")
    if not _whole(weight, 0, 1_000_000):
        raise ValueError(f"weight {weight!r} is not a whole number of at least 0")
    return Backend(port, weight)


def _whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
