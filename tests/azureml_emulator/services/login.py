"""Logging in: what Microsoft Entra ID answers to the login libraries, for one application and any identity token."""

from __future__ import annotations

import hmac
import time
from typing import Any
from urllib.parse import parse_qs

import jwt

from tests.azureml_emulator.context import SUBSCRIPTION, TENANT
from tests.azureml_emulator.routing import Answer, Call, Routes
from tests.azureml_emulator.server import sign

TOKEN_SECONDS = 3600
EXCHANGE = "api://AzureADTokenExchange"
"""The audience of identity tokens that other issuers make for Entra ID."""

routes = Routes()


@routes.add(
    "GET",
    "/{tenant}/.well-known/openid-configuration",
    "/{tenant}/v2.0/.well-known/openid-configuration",
    anonymous=True,
)
async def configuration(call: Call) -> dict[str, Any]:
    """Where to ask for tokens."""
    base = f"{call.context.base_url}/{TENANT}"
    return {
        "issuer": base,
        "token_endpoint": f"{base}/oauth2/token",
        "authorization_endpoint": f"{base}/oauth2/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/devicecode",
    }


@routes.add("POST", "/{tenant}/oauth2/token", "/{tenant}/oauth2/v2.0/token", anonymous=True)
async def token(call: Call) -> Any:
    """A token for the application, by its secret or by an identity token that another issuer gave it."""
    form = {name: values[-1] for name, values in parse_qs(call.body.decode()).items()}
    secrets = call.context.secrets
    if call.match["tenant"] != TENANT:
        return _refused("AADSTS90002", f"Tenant '{call.match['tenant']}' not found.")
    if form.get("client_id") != secrets["app_id"]:
        return _refused(
            "AADSTS700016", f"Application with identifier '{form.get('client_id')}' was not found."
        )
    asserted = form.get("client_assertion")
    if asserted is not None and (refused := _wrong_assertion(asserted)):
        return refused
    if asserted is None and not hmac.compare_digest(
        form.get("client_secret", "").encode(), secrets["app_secret"].encode()
    ):
        return _refused("AADSTS7000215", "Invalid client secret provided.")
    if call.context.faults.take("expired-secret"):
        return _refused("AADSTS7000222", "The provided client secret keys are expired.")
    claims = {
        "aud": form.get("scope", form.get("resource", "")),
        "tid": TENANT,
        "oid": secrets["app_id"],
        "appid": secrets["app_id"],
    }
    return {
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "access_token": sign(call.context, claims, TOKEN_SECONDS),
    }


@routes.add("GET", "/subscriptions")
async def subscriptions(call: Call) -> dict[str, Any]:
    """The one subscription."""
    return {
        "value": [
            {
                "id": f"/subscriptions/{SUBSCRIPTION}",
                "subscriptionId": SUBSCRIPTION,
                "displayName": "emulator",
                "state": "Enabled",
                "tenantId": TENANT,
            }
        ]
    }


def _wrong_assertion(assertion: str) -> Answer | None:
    """What is wrong with an identity token; any issuer is trusted."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError:
        return _refused("AADSTS50027", "JWT token is invalid or malformed.")
    if claims.get("aud") != EXCHANGE:
        return _refused(
            "AADSTS700212",
            "No matching federated identity record found for presented assertion audience.",
        )
    if claims.get("exp", 0) < time.time():
        return _refused("AADSTS700024", "Client assertion is not within its valid time range.")
    return None


def _refused(code: str, message: str) -> Answer:
    body = {"error": "invalid_client", "error_description": f"{code}: {message}"}
    return Answer(401, body)
