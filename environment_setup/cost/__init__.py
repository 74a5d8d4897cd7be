"""What an environment of ``environment_setup/arm`` costs a month, about."""

from __future__ import annotations

from environment_setup.cost.estimate import Estimate, Line, environments, estimate
from environment_setup.cost.prices import PriceError, Prices, load_prices
from environment_setup.cost.usage import Usage

__all__ = [
    "Estimate",
    "Line",
    "PriceError",
    "Prices",
    "Usage",
    "environments",
    "estimate",
    "load_prices",
]
