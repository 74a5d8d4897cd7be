"""Names: every form of them, and which are refused."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from bootstrap.errors import UsageError
from bootstrap.names import Renamer, base_name, check_name, forms, taken_names

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = (ROOT / "requirements.txt").read_text()
TAKEN = taken_names(["ml_service/pipeline.py", "docs/gate.md", "README.md"], REQUIREMENTS)


def test_every_form_is_renamed() -> None:
    text = (
        "insurance_claims insurance-claims INSURANCE_CLAIMS InsuranceClaims insuranceclaims Insurance claims "
        "Insurance Claims insurance claims"
    )
    assert Renamer("customer_churn")(text) == (
        "customer_churn customer-churn CUSTOMER_CHURN CustomerChurn customerchurn Customer churn Customer Churn "
        "customer churn"
    )


def test_the_new_name_may_hold_the_old_one() -> None:
    rename = Renamer("our_insurance_claims_2")
    assert rename("import insurance_claims.data") == "import our_insurance_claims_2.data"


def test_the_same_name_changes_nothing() -> None:
    text = 'insurance_claims "baseName": {"value": "claims"}'
    assert Renamer("insurance_claims")(text) == text


def test_names_of_azure_resources_are_renamed_and_words_are_not() -> None:
    text = '{"baseName": {\n  "value": "claims"}} az group create --name claims-dev; 24 claims, "claims"'
    assert Renamer("customer_churn")(text) == text.replace(
        '"value": "claims"', '"value": "customer"'
    ).replace("claims-dev", "customer-dev")


def test_names_of_azure_resources_in_code_are_renamed_too() -> None:
    text = 'given = {"baseName": "claims"}; "adf-claims-test-1" "insurance-claims-dev"'
    assert Renamer("customer_churn")(text) == (
        'given = {"baseName": "customer"}; "adf-customer-test-1" "customer-churn-dev"'
    )


@pytest.mark.parametrize("name", ["fig", "a_b", "x" * 40, "a_" * 19 + "bb", "Churn2"])
def test_forms_are_within_azures_limits(name: str) -> None:
    found = forms(name)
    for service in ("aci", "aks"):
        assert len(found[service]) <= 32
        assert "--" not in found[service]
    assert 3 <= len(base_name(name)) <= 8
    assert len(f"{found['kebab']}-production") <= 63
    assert found["kebab"].islower()


@pytest.mark.parametrize("name", ["fig", "x" * 40, "insurance_claims", "customer_churn", "Churn2"])
def test_a_good_name(name: str) -> None:
    check_name(name, TAKEN)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "has 0 characters"),
        ("ab", "has 2 characters"),
        ("x" * 41, "has 41 characters"),
        ("2fast", "beginning with a letter"),
        ("customer-churn", "cannot be the name"),
        ("customer churn", "cannot be the name"),
        ("_churn", "cannot be the name"),
        ("churn_", "cannot be the name"),
        ("a__b", "single underscores"),
        ("größe", "letters (a to z)"),
        ("../up", "cannot be the name"),
        ("churn\n", "cannot be the name"),
        ("class", "keyword"),
        ("None", "keyword"),
        ("json", "module of Python"),
        ("JSON", "module of Python"),
        ("test", "module of Python"),
        ("mlflow", "depends on"),
        ("sklearn", "depends on"),
        ("yaml", "depends on"),
        ("scikit_learn", "depends on"),
        ("azure", "depends on"),
        ("ml_service", "folder of the project"),
        ("Docs", "folder of the project"),
        ("bootstrap", "folder of the project"),
        ("con", "Windows"),
        ("aux", "Windows"),
        ("com1", "Windows"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        check_name(name, TAKEN)
    assert reason in str(error.value)
    assert error.value.code == 2


def test_every_module_of_the_environment_is_taken() -> None:
    """The list of modules that are called other than their package is complete."""
    locked = {
        line.split("==")[0].lower().replace("_", "-")
        for line in REQUIREMENTS.splitlines()
        if "==" in line
    }
    modules = {
        module
        for module, packages in metadata.packages_distributions().items()
        if any(
            package.lower().replace("_", "-").replace(".", "-") in locked for package in packages
        )
    }
    assert len(modules) > 100
    allowed = set()
    for module in modules:
        try:
            check_name(module, TAKEN)
            allowed.add(module)
        except UsageError:
            continue
    assert allowed == set()
