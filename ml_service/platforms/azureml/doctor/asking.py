"""Questions to Azure: each is asked once, has a time limit, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

from insurance_claims.errors import ClaimsError
from ml_service.findings import Finding
from ml_service.platforms.azureml.errors import status
from ml_service.platforms.azureml.rest import get_json
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import PlatformError

_Result = TypeVar("_Result")


class Asking:
    """Asks Azure with the login of a workspace.

    Args:
        workspace: nothing was asked of it yet.
        seconds: that an answer may take.
    """

    def __init__(self, workspace: AzureWorkspace, seconds: float) -> None:
        self.workspace = workspace
        self.azure = workspace.azure
        self._seconds = seconds
        self._answers: dict[str, Any] = {}
        self._refusals: dict[str, ClaimsError] = {}

    @property
    def subscription(self) -> str:
        """Resource id of the subscription."""
        return f"/subscriptions/{self.azure.subscription_id}"

    @property
    def group(self) -> str:
        """Resource id of the resource group."""
        return f"{self.subscription}/resourceGroups/{self.azure.resource_group}"

    @property
    def workspace_id(self) -> str:
        """Resource id of the workspace."""
        kind = "Microsoft.MachineLearningServices/workspaces"
        return f"{self.group}/providers/{kind}/{self.azure.workspace_name}"

    def get(self, path: str, version: str) -> Any:
        """A resource as Azure Resource Manager shows it.

        Args:
            path: its resource id.
            version: of its API.

        Raises:
            ClaimsError: there is none, this login may not see it, or there is no answer in time.
        """
        return self.once(path, f"reading {path}", lambda: self._page(path, version))

    def items(self, path: str, version: str) -> list[Any]:
        """All items of a list, from all of its pages.

        Raises:
            ClaimsError: as ``get``.
        """

        def read() -> list[Any]:
            page = self._page(path, version)
            found = list(page["value"])
            while link := page.get("nextLink"):
                page = get_json(self.workspace, link, f"reading {path}")
                found += page["value"]
            return found

        answer: list[Any] = self.once(path, f"reading {path}", read)
        return answer

    def once(self, key: str, what: str, work: Callable[[], _Result]) -> _Result:
        """What a call gave, or was refused with, the first time.

        Args:
            key: of the call.
            what: is done, for messages.
            work: makes the call.

        Raises:
            ClaimsError: the call was refused, or took too long.
        """
        if key not in self._answers and key not in self._refusals:
            try:
                self._answers[key] = within(self._seconds, what, work)
            except ClaimsError as error:
                self._refusals[key] = error
        if key in self._refusals:
            raise self._refusals[key]
        answer: _Result = self._answers[key]
        return answer

    def _page(self, path: str, version: str) -> Any:
        manager = str(self.workspace.cloud.resource_manager).rstrip("/")
        url = f"{manager}{path}?api-version={version}"
        return get_json(self.workspace, url, f"reading {path}")


def within(seconds: float, what: str, work: Callable[[], _Result]) -> _Result:
    """What a call gives, if it gives it in time.

    Args:
        seconds: that it may take.
        what: is done, for messages.
        work: makes the call. Where it hangs it is left alone, and does not keep the program from ending.

    Raises:
        PlatformError: it took too long.
    """
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise PlatformError(f"{what}: no answer within {seconds:g} s") from None


def looked(what: str, look: Callable[[], Finding], forbidden: str = "") -> Finding:
    """What a look gives; a refusal of Azure is a finding too.

    Args:
        what: the finding's name.
        look: may raise a ClaimsError.
        forbidden: what follows from it that this login may not look. It may do its work all the same.
    """
    try:
        return look()
    except ClaimsError as error:
        if status(error) == 403:
            return Finding(what, None, "this login may not look at it", forbidden)
        return Finding(
            what,
            False,
            str(error),
            "see what it says; where nothing answers, check network, proxy and firewall; then `mlops doctor` again",
        )


def missing(error: ClaimsError) -> bool:
    """Whether Azure answered that there is no such thing."""
    return status(error) == 404
