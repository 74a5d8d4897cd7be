"""What looks like a secret is hidden, and the rest is not."""

from __future__ import annotations

import pytest

from insurance_claims.monitoring.redaction import HIDDEN, LONGEST, scrub


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdef123456.xyz", "abcdef123456"),
        ("https://x.blob.core.windows.net/c/b?sv=1&sig=Ab%2Bc%3D&se=2", "Ab%2Bc"),
        ("DefaultEndpointsProtocol=https;AccountKey=Zm9vYmFy==;X=1", "Zm9vYmFy"),
        ("InstrumentationKey=0000-1111;IngestionEndpoint=x", "0000-1111"),
        ("postgresql://claims:pa55word@db/claims", "pa55word"),
        ("password: pa55word", "pa55word"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    cleaned = scrub(text, {})
    assert secret not in cleaned and HIDDEN in cleaned


def test_secrets_of_the_environment_are_hidden_wherever_they_stand() -> None:
    environ = {"SP_APP_SECRET": "correct-horse", "MODEL_NAME": "insurance_claims", "TOKEN": "ab"}
    assert scrub("x correct-horse y ab insurance_claims", environ) == (
        f"x {HIDDEN} y ab insurance_claims"
    )


@pytest.mark.parametrize(
    "text",
    ["column ps_ind_01: 99 is not allowed", "https://example.com:8080/a@b", "designer: Anna"],
)
def test_ordinary_text_stays(text: str) -> None:
    assert scrub(text, {}) == text


def test_of_a_long_text_the_end_is_kept() -> None:
    cleaned = scrub("a" * 5000 + "the reason", {})
    assert len(cleaned) == LONGEST and cleaned.endswith("the reason")
