"""The table of prices, ``prices.yml``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from insurance_claims.errors import ClaimsError
from insurance_claims.typed_yaml import load_typed

TABLE = Path(__file__).with_name("prices.yml")
Region = Literal["westeurope", "eastus"]
REGIONS: tuple[str, ...] = get_args(Region)
_OLD_MONTHS = 12


class PriceError(ClaimsError):
    """The table of prices does not hold what is asked of it."""


class Price(BaseModel):
    """One list price.

    Attributes:
        key: what it is of.
        unit: that it is for.
        westeurope: there, in the table's currency.
        eastus: there.
        source: page with the real one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: str
    unit: str
    westeurope: float = Field(ge=0)
    eastus: float = Field(ge=0)
    source: str = Field(pattern="^https://azure.microsoft.com/pricing/")


class Prices(BaseModel):
    """All prices.

    Attributes:
        date: when they were written down.
        currency: of all of them.
        calculator: Azure's own, with the real prices.
        prices: one a key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: datetime.date
    currency: str
    calculator: str
    prices: tuple[Price, ...]

    def of(self, key: str) -> Price:
        """The price of a thing, whatever the case of its name.

        Raises:
            PriceError: the table does not have it.
        """
        for price in self.prices:
            if price.key == key.lower():
                return price
        raise PriceError(
            f"{TABLE.name} has no price of {key!r}: add it from {self.calculator}, or use what it has"
        )

    def months_old(self, today: datetime.date) -> int:
        """Whole months since they were written down."""
        months = (today.year - self.date.year) * 12 + today.month - self.date.month
        return months - (today.day < self.date.day)

    def warning(self, today: datetime.date) -> str | None:
        """What to say where they are old."""
        months = self.months_old(today)
        if months <= _OLD_MONTHS:
            return None
        return f"the prices are of {self.date}, {months} months ago: see {self.calculator} for those of today"


def load_prices(file: Path = TABLE) -> Prices:
    """The table.

    Raises:
        PriceError: it cannot be read, or does not fit.
    """
    return load_typed(Prices, file, PriceError, "a table of prices")
