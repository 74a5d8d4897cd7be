"""What rollouts refuse."""

from __future__ import annotations

from insurance_claims.errors import ClaimsError


class RolloutError(ClaimsError):
    """A rollout cannot be planned, begun, changed or judged as asked."""
