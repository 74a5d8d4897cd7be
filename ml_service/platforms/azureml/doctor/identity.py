"""Who logs in, how, and until when."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from insurance_claims.errors import ClaimsError
from ml_service.findings import Finding
from ml_service.platforms.azureml.doctor.asking import Asking
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.login import chosen_way

LOGIN = "login"
_CLOCKS_DIFFER_SECONDS = 300
_ADVICE = {
    "service-principal": "`az ad app credential reset --id SP_APP_ID --append` makes a new secret; check TENANT_ID and "
    "SP_APP_ID with `az ad sp show --id SP_APP_ID`",
    "federated": "compare issuer, subject and audience with `az ad app federated-credential list --id SP_APP_ID`, or "
    "with `az identity federated-credential list` where it is a managed identity",
    "managed-identity": "give this machine an identity: `az vm identity assign`; SP_APP_ID names a user-assigned one",
    "cli": "`az login --tenant TENANT_ID`",
}


def logged_in(ask: Asking, environ: Mapping[str, str]) -> tuple[Finding, str | None]:
    """Log in.

    Args:
        ask: with the settings that say how.
        environ: variables of this process.

    Returns:
        The finding, and the object id of who logged in; None where nobody did.
    """
    way = chosen_way(ask.azure, environ)
    try:
        token = ask.once(LOGIN, f"logging in to Azure ({way})", lambda: _token(ask))
    except ClaimsError as error:
        detail = " ".join(str(error).split())
        return Finding(LOGIN, False, f"{way}: {detail}", _ADVICE[way]), None
    claims = token_claims(token)
    return described(way, claims, time.time()), str(claims.get("oid", ""))


def described(way: str, claims: Mapping[str, Any], now: float) -> Finding:
    """What a fresh access token says.

    Args:
        way: of logging in.
        claims: of the token.
        now: this machine's time, in seconds since 1970.
    """
    who = claims.get("upn") or claims.get("appid") or claims.get("oid") or "unknown"
    until = float(claims.get("exp", now))
    since = float(claims.get("iat", now))
    if not since - _CLOCKS_DIFFER_SECONDS <= now <= until:
        return Finding(
            LOGIN,
            False,
            f"{way}: the token that Azure just gave holds from {_utc(since)} to {_utc(until)}, and the clock of this "
            f"machine says {_utc(now)}",
            "set the clock: `sudo timedatectl set-ntp true`",
        )
    return Finding(LOGIN, True, f"{way}, as {who}; the token holds until {_utc(until)}")


def token_claims(token: str) -> dict[str, Any]:
    """What an access token says of itself. Its signature is for Azure to check."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _token(ask: Asking) -> str:
    with translated("logging in to Azure"):
        header = ask.workspace.authentication.get_authentication_header()
    return str(header["Authorization"]).removeprefix("Bearer ")


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
