"""A credential of azure-identity as an authentication object of the SDK."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from azureml.core.authentication import AbstractAuthentication, ArmTokenAuthentication

_FRESH_SECONDS = 300


class CredentialAuthentication(AbstractAuthentication):  # type: ignore[misc]  # the SDK has no types
    """Logs in with a credential of azure-identity.

    The SDK's own ``TokenAuthentication`` does not do: azureml-mlflow asks it for a token by scope, which it refuses.

    Args:
        make: makes the credential; takes the address of Entra ID in this cloud.
    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self.credential = make(self._cloud_type.endpoints.active_directory)
        self._lock = threading.Lock()
        # azure-identity asks anew for each token where it calls a program or a local address.
        self._tokens: dict[str, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> CredentialAuthentication:
        # The SDK copies the objects that hold it, and a lock cannot be copied.
        return self

    def _token(self, resource: str) -> str:
        with self._lock:
            token = self._tokens.get(resource)
            if token is None or token.expires_on - time.time() < _FRESH_SECONDS:
                # Two slashes where the resource ends with one: Entra ID wants it so.
                token = self.credential.get_token(f"{resource}/.default")
                self._tokens[resource] = token
            return str(token.token)

    def _get_arm_token(self) -> str:
        return self._token(self._cloud_type.endpoints.active_directory_resource_id)

    def _get_graph_token(self) -> str:
        return self._token(self._cloud_type.endpoints.active_directory_graph_resource_id)

    def _get_azureml_client_token(self) -> str:
        return self._token(self._get_aml_resource_id())

    def _get_all_subscription_ids(self) -> Any:
        by_token = ArmTokenAuthentication(self._get_arm_token(), self._cloud_type.name)
        return by_token._get_all_subscription_ids()

    def _get_workspace(self, subscription_id: str, resource_group: str, name: str) -> None:
        """Nothing: the SDK then asks Azure Resource Manager."""
