"""``mlops cost``: what an environment in Azure costs a month, about."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from ml_service.cli.context import JsonOption, print_json, print_table


def cost(
    environment: Annotated[
        str | None, typer.Option(help="dev, test or prod; all where it is left out.")
    ] = None,
    region: Annotated[
        Literal["westeurope", "eastus"], typer.Option(help="Whose prices.")
    ] = "westeurope",
    hours_training: Annotated[
        float, typer.Option(min=0, help="Hours of a node that training takes in a month.")
    ] = 40.0,
    hours_serving: Annotated[
        float, typer.Option(min=0, max=730, help="Hours of the month in which endpoints run.")
    ] = 730.0,
    rows_per_month: Annotated[
        int, typer.Option(min=0, help="Rows of data that arrive.")
    ] = 1_000_000,
    gigabytes_logs: Annotated[
        float | None,
        typer.Option(min=0, help="Logs of a month; default: by the number of AKS nodes."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Estimate what the environments of environment_setup cost a month. No account is asked, and nothing is changed."""
    from environment_setup.cost import Usage, environments, estimate, load_prices

    prices = load_prices()
    usage = Usage(hours_training, hours_serving, rows_per_month, gigabytes_logs)
    wanted = [environment] if environment else environments()
    estimates = [estimate(name, usage, prices, region) for name in wanted]
    warning = prices.warning(datetime.now(UTC).date())
    if json:
        print_json(
            {
                "currency": prices.currency,
                "region": region,
                "prices_of": prices.date,
                "warning": warning,
                "assumptions": usage.describe(),
                "environments": estimates,
            }
        )
        return
    for found in estimates:
        rows = [
            (line.what, f"{line.quantity:,.1f}", line.unit, f"{line.price:g}", f"{line.month:,.2f}")
            for line in found.lines
        ]
        title = f"{found.environment}, {region}, {prices.currency} a month"
        total = ("total", "", "", "", f"{found.total:,.2f}")
        print_table(title, ("what", "quantity", "unit", "price", "a month"), [*rows, total])
        print(f"budget of the parameter file: {found.budget:,.0f} in the subscription's currency")
        for kind in found.unpriced:
            print(f"not in it, no price is known: {kind}")
        print()
    print(
        "An estimate from rounded list prices, not an offer. It assumes, a month and environment:"
    )
    for line in usage.describe():
        print(f"  {line}")
    print(f"Real prices: {prices.calculator}")
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
