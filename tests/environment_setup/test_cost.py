"""What an environment costs: the sums are right, nothing is left out silently, and old prices say so."""

from __future__ import annotations

import json
import shutil
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from environment_setup.bundle import ARM, bundle
from environment_setup.check.arm import OPTIONAL, deployed
from environment_setup.cost import (
    Estimate,
    PriceError,
    Prices,
    Usage,
    environments,
    estimate,
    load_prices,
)
from environment_setup.cost.estimate import _STAGING_CORES, _STAGING_GIGABYTES, unpriced
from environment_setup.cost.prices import TABLE
from insurance_claims.typed_yaml import load_typed
from tests.command import runner


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


def month(found: Estimate, beginning: str) -> float:
    """What all lines with a name that begins so cost together."""
    return sum(line.month for line in found.lines if line.what.startswith(beginning))


def with_parameter(folder: Path, name: str, value: object) -> Path:
    """A copy of the templates, whose prod has another value of a parameter."""
    shutil.copytree(ARM, folder)
    file = folder / "parameters" / "prod.json"
    content = json.loads(file.read_text())
    content["parameters"][name] = {"value": value}
    file.write_text(json.dumps(content))
    return folder


def test_a_line_is_quantity_times_price_and_the_total_is_their_sum(prices: Prices) -> None:
    found = estimate("dev", Usage(training_hours=100), prices, "westeurope")
    assert found.total == pytest.approx(sum(line.month for line in found.lines))
    for line in found.lines:
        assert line.month == pytest.approx(line.quantity * line.price)
        assert line.source.startswith("https://azure.microsoft.com/pricing/")
    price = prices.of("standard_ds3_v2 lowpriority").westeurope
    assert month(found, "training") == pytest.approx(100 * price)


def test_resources_of_one_kind_make_one_line(prices: Prices) -> None:
    found = estimate("dev", Usage(), prices, "westeurope").lines
    lines = {line.what: line for line in found}
    assert len(lines) == len(found)
    # Two accounts hold what is assumed in sum.
    assert lines["storage"].quantity == pytest.approx(Usage().gigabytes)


def test_environments_differ_as_their_parameters_do(prices: Prices) -> None:
    assert environments() == ["dev", "prod", "test"]
    dev, prod = (estimate(name, Usage(), prices, "westeurope") for name in ("dev", "prod"))
    assert month(dev, "AKS") == 0
    nodes = 3 * 730 * prices.of("Standard_D4s_v5").westeurope
    assert month(prod, "AKS, 3 nodes") == pytest.approx(nodes)
    assert month(prod, "training") > 4 * month(dev, "training")
    assert month(prod, "logs, kept longer") > month(dev, "logs, kept longer") == 0
    assert dev.total < 100 < prod.total
    assert dev.total < dev.budget
    assert prod.total < prod.budget


def test_a_region_has_its_own_prices(prices: Prices) -> None:
    west = estimate("prod", Usage(), prices, "westeurope")
    assert west.total > estimate("prod", Usage(), prices, "eastus").total


def test_what_is_used_less_costs_less(prices: Prices) -> None:
    usual = estimate("prod", Usage(), prices, "westeurope")
    idle = estimate("prod", Usage(0, 0, 0, 0), prices, "westeurope")
    assert month(idle, "training") == month(idle, "staging service") == month(idle, "logs") == 0
    assert month(idle, "AKS, 3 nodes") == 0
    assert month(idle, "AKS, control plane") == month(usual, "AKS, control plane") > 0
    assert month(idle, "storage") < month(usual, "storage")


def test_rows_are_kept_for_a_year() -> None:
    assert Usage(rows=10_000_000).gigabytes == pytest.approx(10 + 240)


def test_logs_above_the_daily_limit_are_not_paid() -> None:
    usage = Usage(log_gigabytes=500)
    assert usage.logs(0, 1) == 30
    assert usage.logs(0, -1) == 500
    assert Usage().logs(3, -1) == pytest.approx(3 + 18)


def test_private_networking_costs_its_endpoints_and_a_better_registry(
    prices: Prices, tmp_path: Path
) -> None:
    folder = with_parameter(tmp_path / "arm", "privateNetworking", True)
    found = estimate("prod", Usage(), prices, "westeurope", folder)
    usual = estimate("prod", Usage(), prices, "westeurope")
    assert month(found, "private endpoint") > 0 == month(usual, "private endpoint")
    assert month(found, "container registry") > 2 * month(usual, "container registry")


def test_nothing_that_the_templates_make_is_left_out() -> None:
    values = json.loads((ARM / "parameters" / "prod.json").read_text())["parameters"]
    given = {name: item["value"] for name, item in values.items()}
    made = deployed(bundle(), {**given, **OPTIONAL})
    assert unpriced(made) == []


def test_a_resource_without_a_price_is_named(tmp_path: Path, prices: Prices) -> None:
    folder = tmp_path / "arm"
    shutil.copytree(ARM, folder)
    main = folder / "main.json"
    content = json.loads(main.read_text())
    content["resources"].append(
        {"type": "Microsoft.Cache/redis", "apiVersion": "2024-03-01", "name": "cache"}
    )
    main.write_text(json.dumps(content))
    assert estimate("dev", Usage(), prices, "westeurope", folder).unpriced == (
        "Microsoft.Cache/redis",
    )


def test_a_machine_without_a_price_is_refused(tmp_path: Path, prices: Prices) -> None:
    folder = with_parameter(tmp_path / "arm", "clusterSize", "Standard_ND96")
    with pytest.raises(PriceError, match="has no price of 'Standard_ND96': add it"):
        estimate("prod", Usage(), prices, "westeurope", folder)


def test_an_unknown_environment_is_refused(prices: Prices) -> None:
    with pytest.raises(PriceError, match="no environment 'moon'; there is: dev, prod, test"):
        estimate("moon", Usage(), prices, "westeurope")


def test_old_prices_say_so(prices: Prices) -> None:
    table = prices.model_copy(update={"date": date(2025, 6, 15)})
    assert table.warning(date(2025, 7, 1)) is None
    assert table.warning(date(2026, 7, 14)) is None
    assert "13 months ago" in str(table.warning(date(2026, 7, 15)))


def test_each_price_is_there_once(prices: Prices) -> None:
    keys = [price.key for price in prices.prices]
    assert len(keys) == len(set(keys))
    assert keys == [key.lower() for key in keys]


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.yml"
    file.write_text(TABLE.read_text().replace("westeurope: 0.67", "westeurope: cheap"))
    with pytest.raises(PriceError, match="is not a table of prices"):
        load_prices(file)


def test_the_staging_service_is_the_one_that_is_deployed(root: Path) -> None:
    file = root / "insurance_claims" / "scoring" / "deployment.yml"
    staging = load_typed(dict[str, dict[str, object]], file, PriceError)["staging"]
    assert (staging["cpu"], staging["memory_gb"]) == (_STAGING_CORES, _STAGING_GIGABYTES)


def test_the_command_prints_a_table_or_json(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlops = partial(runner(capfd, monkeypatch), "cost")
    code, out, err = mlops("--environment", "dev", "--hours-training", "12.5")
    assert code == 0
    assert "dev, westeurope, USD a month" in out
    assert "training: 12.5 hours of a node" in out
    assert "An estimate from rounded list prices, not an offer" in out
    assert "https://azure.microsoft.com/pricing/calculator/" in out
    assert "months ago" in err
    code, out, _ = mlops("--region", "eastus", "--json")
    answer = json.loads(out)
    assert (code, answer["region"]) == (0, "eastus")
    assert [item["environment"] for item in answer["environments"]] == environments()
    code, _, err = mlops("--environment", "moon")
    assert (code, "there is no environment 'moon'" in err) == (1, True)
    assert mlops("--hours-serving", "800")[0] == 2
