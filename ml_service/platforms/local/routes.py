"""routes.json: which model versions the router knows, where they listen, and which requests each gets."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, write_json

ROUTES_FILE = "routes.json"
KEY_FILE = "key"
PROCESS_FILE = "router.json"
"""Holds the router's process id and port, once it has that port."""


class RoutesError(ClaimsError):
    """routes.json cannot be used."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One model version's server.

    Attributes:
        port: on loopback.
        weight: share of the requests that it answers, a whole number of at least 0.
        mirror: percent of the requests that are copied to it.
    """

    port: int
    weight: int
    mirror: int = 0


@dataclass(frozen=True, slots=True)
class Routes:
    """What routes.json holds.

    Attributes:
        revision: grows by one with every change.
        backends: by model version; none where nothing is deployed yet.
        sticky_header: requests with the same value of this header go to the same version.
        standby: the version that a canary was last tried against. It answers what all versions with traffic failed,
            also where it has no traffic of its own any more.
    """

    revision: int
    backends: Mapping[int, Backend]
    sticky_header: str | None = None
    standby: int | None = None

    def choose(self, rng: random.Random, sticky: str | None = None) -> int:
        """A version at random, by weight, or always the same for one sticky value. One weight has to be above 0.

        Sticky values go by rendezvous hashing with weights (Thaler and Ravishankar 1998; the logarithm makes the shares
        exact): where one version's weight grows and another's shrinks, values only ever move from this to that.
        """
        versions = list(self.backends)
        if len(versions) == 1:
            return versions[0]
        if sticky is None:
            weights = [backend.weight for backend in self.backends.values()]
            return rng.choices(versions, weights)[0]
        return min(
            (-math.log(_uniform(version, sticky)) / weight, version)
            for version, weight in self.traffic().items()
        )[1]

    def answering(self) -> list[int]:
        """The versions that may answer a request, by weight, the standby last."""
        own = sorted(self.traffic(), key=lambda version: -self.backends[version].weight)
        standby = self.standby
        if standby is None or standby in own or standby not in self.backends:
            return own
        # Answers of a version that gets copies reach nobody.
        return own if self.backends[standby].mirror else [*own, standby]

    def traffic(self) -> dict[int, int]:
        """The versions that get requests, and their weights."""
        return {
            version: backend.weight for version, backend in self.backends.items() if backend.weight
        }

    def split(
        self, traffic: Mapping[int, int], mirror: Mapping[int, int], sticky_header: str | None
    ) -> Routes:
        """The next routes, to the same backends. A version that others join becomes the standby."""
        before = list(self.traffic())
        joined = len(before) == 1 and bool(traffic.get(before[0]))
        standby = self.standby
        if before and (joined or standby not in self.backends):
            standby = before[0]
        backends = {
            version: Backend(backend.port, traffic.get(version, 0), mirror.get(version, 0))
            for version, backend in self.backends.items()
        }
        return Routes(self.revision + 1, backends, sticky_header, standby)

    def same_split(self, other: Routes) -> bool:
        """Whether both send the same requests to the same servers."""
        return (self.backends, self.sticky_header) == (other.backends, other.sticky_header)


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
        sticky_header, standby = content.get("sticky_header"), content.get("standby")
        backends = {int(version): _backend(entry) for version, entry in listed.items()}
        if isinstance(revision, bool) or not isinstance(revision, int):
            raise ValueError("revision is no whole number")
        if backends and not any(backend.weight for backend in backends.values()):
            raise ValueError("every weight is 0")
        if not (sticky_header is None or (isinstance(sticky_header, str) and sticky_header)):
            raise ValueError(f"sticky_header {sticky_header!r} is no name")
        if standby is not None and not _whole(standby, 0, 2**31):
            raise ValueError(f"standby {standby!r} is no version")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RoutesError(f"{path} is not a file of routes: {reason}") from None
    return Routes(revision, backends, sticky_header, standby)


def write_routes(path: Path, routes: Routes) -> None:
    """Write routes.json whole, so that a reader never sees half of it."""
    backends = {
        str(version): {"port": backend.port, "weight": backend.weight, "mirror": backend.mirror}
        for version, backend in sorted(routes.backends.items())
    }
    content = {"revision": routes.revision, "backends": backends}
    more = {"sticky_header": routes.sticky_header, "standby": routes.standby}
    write_json(path, {**content, **more})


def _backend(entry: Any) -> Backend:
    port, weight, mirror = entry["port"], entry["weight"], entry.get("mirror", 0)
    if not _whole(port, 1, 65535):
        raise ValueError(f"port {port!r} is not between 1 and 65535")
    if not _whole(weight, 0, 1_000_000):
        raise ValueError(f"weight {weight!r} is not a whole number of at least 0")
    if not _whole(mirror, 0, 100):
        raise ValueError(f"mirror {mirror!r} is not a whole number from 0 to 100")
    return Backend(port, weight, mirror)


def _whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _uniform(version: int, value: str) -> float:
    """A number above 0, at most 1, that is the same on every machine."""
    # Names of headers are ASCII, but their values need not be.
    text = f"{version}:{value}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64
