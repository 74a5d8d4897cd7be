"""What every service of the emulator can reach: addresses, secrets, state, clock and faults."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.azureml_emulator.clock import Clock
from tests.azureml_emulator.faults import Faults
from tests.azureml_emulator.state import Store, Table

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
GROUP = "emulator"
TENANT = "adfs"
"""The one tenant that the login library does not look up at Microsoft first."""
DOMAIN = "emulator.test"
ACCOUNT = "emulatorstore"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace: its own tables and files.

    Attributes:
        name: as in its path.
        id: a GUID.
        store: of the emulator.
        folder: for its files.
    """

    name: str
    id: str
    store: Store
    folder: Path

    @property
    def path(self) -> str:
        """Its path in Azure Resource Manager."""
        return (
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )

    def table(self, name: str) -> Table:
        """Documents of one kind."""
        return self.store.table(self.name, name)

    def blob_file(self, container: str, name: str) -> Path:
        """Where a blob of this workspace is kept. Every workspace has its own containers.

        Raises:
            ValueError: the name would leave the container.
        """
        root = (self.folder / "blobs" / container).resolve()
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            raise ValueError(f"{name!r} is no name of a blob")
        return file


@dataclass
class Context:
    """The emulator as its services see it.

    Attributes:
        folder: everything that it keeps.
        base_url: of its HTTPS listener.
        serving_url: of its HTTP listener, where deployed services answer.
        store: documents.
        clock: its time.
        faults: what a test asked for.
        secrets: made once: ``app_id``, ``app_secret``, ``token_key``, ``account_key``, ``signature``, ``control``.
        environment: variables that clients need to reach the emulator; processes that it starts get them too.
        calls: method, path, route and status of every call, for tests.
        refused: ``host:port`` of each attempt to reach another host through the proxy.
    """

    folder: Path
    base_url: str
    serving_url: str
    store: Store
    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=Faults)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    calls: list[Mapping[str, object]] = field(default_factory=list, repr=False)
    refused: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        kept = self.store.table("", "secrets")
        for name in ("app_secret", "token_key", "signature", "control"):
            kept.setdefault(name, secrets.token_urlsafe(32))
        kept.setdefault("app_id", str(uuid.uuid4()))
        kept.setdefault("account_key", base64.b64encode(secrets.token_bytes(64)).decode())
        self.secrets = dict(kept)

    @property
    def storage_suffix(self) -> str:
        """What follows ``ACCOUNT.blob.`` in a storage account's address."""
        return f"{DOMAIN}:{self.base_url.rpartition(':')[2]}"

    def blob_url(self, workspace: Workspace, container: str, name: str) -> str:
        """An address of a blob that carries its own permission, as a shared access signature does."""
        return (
            f"https://{self.account(workspace)}.blob.{self.storage_suffix}/{container}/{name}"
            f"?sig={self.secrets['signature']}"
        )

    def account(self, workspace: Workspace) -> str:
        """The workspace's storage account."""
        return f"{ACCOUNT}{workspace.id.replace('-', '')[:12]}"

    def workspace(self, name: str) -> Workspace | None:
        """A workspace by name, whatever its case; None where there is none."""
        found = self.store.table("", "workspaces").get(name.lower())
        if found is None:
            return None
        return Workspace(
            found["name"], found["id"], self.store, self.folder / "workspaces" / found["name"]
        )

    def workspace_of_account(self, account: str) -> Workspace | None:
        """The workspace that a storage account belongs to."""
        for name in self.store.table("", "workspaces"):
            workspace = self.workspace(name)
            if workspace and self.account(workspace) == account:
                return workspace
        return None

    def make_workspace(self, name: str) -> Workspace:
        """A workspace of this name, made where there is none."""
        table = self.store.table("", "workspaces")
        table.setdefault(name.lower(), {"name": name, "id": str(uuid.uuid4())})
        made = self.workspace(name)
        assert made is not None
        return made
