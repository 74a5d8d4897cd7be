"""The expression language. Expected values follow Microsoft's documentation of expressions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.expressions import Context, evaluate, parse
from azure_pipelines_local.functions import plain
from azure_pipelines_local.values import value_of
from azure_pipelines_local.yaml_source import Version, to_node

WHERE = Location(Path("pipeline.yml"), 7)
PARAMETERS = {
    "yes": True,
    "no": False,
    "count": 3,
    "empty": "",
    "myArray": ["FOO", "BAR", "ZOO"],
    "branches": ["refs/heads/main", "refs/heads/test"],
    "foo": [
        {"id": 1, "a": "avalue1"},
        {"id": 2, "a": "avalue2"},
        {"id": 3, "a": "avalue3"},
    ],
    "deep": {"this_is": {"a_complex": "object", "with": ["one", "two"]}},
    "mixed": ["x", {"y": "z"}],
}
VARIABLES = {"letters": "ABC", "numbers": "123", "Build.SourceBranch": "refs/heads/main"}
START = datetime(2026, 3, 9, 4, 5, 6, 123456, tzinfo=UTC)


def context() -> Context:
    names = {
        "parameters": PARAMETERS,
        "variables": VARIABLES,
        "pipeline": {"startTime": START},
    }
    return Context({name: value_of(to_node(value)) for name, value in names.items()}, {})


def result(text: str) -> Any:
    there = context()
    value = evaluate(parse(text, WHERE, there.vocabulary), there, WHERE)
    return str(value) if isinstance(value, Version) else plain(value)


TABLE: list[tuple[str, object]] = [
    # Literals.
    ("true", True),
    ("TRUE", True),
    ("False", False),
    ("-1.2", -1.2),
    (".5", 0.5),
    ("'a b c'", "a b c"),
    ("'It''s OK if they''re using contractions.'", "It's OK if they're using contractions."),
    ("1.2.3", "1.2.3"),
    ("1.2.3.4", "1.2.3.4"),
    # References.
    ("variables.letters", "ABC"),
    ("variables['letters']", "ABC"),
    ("variables['LETTERS']", "ABC"),
    ("variables['noSuch']", None),
    ("parameters.deep.this_is.with[1]", "two"),
    ("parameters.deep['this_is'].a_complex", "object"),
    ("parameters.myArray[9]", None),
    ("parameters.foo.*.id", [1, 2, 3]),
    ("parameters.foo[*].a", ["avalue1", "avalue2", "avalue3"]),
    # Functions, with the documentation's own examples.
    ("and(eq(variables.letters, 'ABC'), eq(variables.numbers, 123))", True),
    ("and(true, true, false)", False),
    ("or(eq(1, 1), eq(2, 3))", True),
    ("or(false, '')", False),
    ("xor(True, False)", True),
    ("xor(True, True)", False),
    ("not(eq(1, 2))", True),
    ("coalesce(variables.couldBeNull, variables.couldAlsoBeNull, 'literal so it always works')",
     "literal so it always works"),
    ("coalesce(variables.emptyString, '', 'literal value')", "literal value"),
    ("coalesce('', parameters.empty)", ""),
    ("contains('ABCDE', 'BCD')", True),
    ("contains('abcde', 'BCD')", True),
    ("contains('ABCDE', 'BD')", False),
    ("containsValue(parameters.branches, variables['Build.SourceBranch'])", True),
    ("containsValue(parameters.branches, 'refs/heads/other')", False),
    ("containsValue(parameters.foo[0], 'AVALUE1')", True),
    ("convertToJson(parameters.deep)",
     '{\n  "this_is": {\n    "a_complex": "object",\n    "with": [\n      "one",\n      "two"\n    ]\n  }\n}'),
    ("endsWith('ABCDE', 'DE')", True),
    ("endsWith('ABCDE', 'cd')", False),
    ("startsWith('ABCDE', 'AB')", True),
    ("startsWith('ABCDE', 'b')", False),
    ("eq(variables.letters, 'abc')", True),
    ("ne(1, 2)", True),
    ("ne('a', 'A')", False),
    ("format('Hello {0} {1}', 'John', 'Doe')", "Hello John Doe"),
    ("format('literal left brace {{ and literal right brace }}')",
     "literal left brace { and literal right brace }"),
    ("format('{0:yyyyMMdd}', pipeline.startTime)", "20260309"),
    ("format('{0:yy-M-d HH:mm:ss.ff}', pipeline.startTime)", "26-3-9 04:05:06.12"),
    ("ge(5, 5)", True),
    ("gt(5, 2)", True),
    ("le(2, 2)", True),
    ("lt(2, 5)", True),
    ("lt('b', 'A')", False),
    ("in('B', 'A', 'B', 'C')", True),
    ("in('b', 'A', 'B', 'C')", True),
    ("in('D')", False),
    ("notIn('D', 'A', 'B', 'C')", True),
    ("join(';', parameters.myArray)", "FOO;BAR;ZOO"),
    ("join(';', parameters.mixed)", "x;"),
    ("join(';', 'alone')", "alone"),
    ("length('fabrikam')", 8),
    ("length(parameters.myArray)", 3),
    ("lower('FOO')", "foo"),
    ("upper('bah')", "BAH"),
    ("trim('  both ends ')", "both ends"),
    ("replace('https://www.tinfoilsecurity.com/saml/consume','https://www.tinfoilsecurity.com','http://server')",
     "http://server/saml/consume"),
    ("split('prod1,prod2', ',')", ["prod1", "prod2"]),
    ("split('a,,b;', ',;')", ["a", "", "b", ""]),
    ("replace(split('/subscriptions/x/y/z/kube-internal', '/')[5], '-', '_')", "kube_internal"),
    ("iif(eq(1, 1), 'first', 'second')", "first"),
    ("iif(false, 'first', 'second')", "second"),
    # Type casting.
    ("lt(False, True)", True),
    ("lt(True, False)", False),
    ("eq(true, 'false')", True),
    ("eq(true, '')", False),
    ("eq(false, variables.noSuch)", True),
    ("eq('', variables.noSuch)", True),
    ("eq(variables.noSuch, '')", True),
    ("eq(variables.noSuch, 'x')", False),
    ("eq(0, '')", True),
    ("eq(0, variables.noSuch)", True),
    ("eq(1, true)", True),
    ("eq(1234, ' 1,234 ')", True),
    ("eq(1, 'one')", False),
    ("ne(1, 'one')", True),
    ("eq('1', 1)", True),
    ("eq('True', true)", True),
    ("eq(parameters.yes, 'true')", True),
    ("eq(parameters.no, false)", True),
    ("eq('1.5', 1.5)", True),
    ("eq('1.2.3', 1.2.3)", True),
    ("eq(1.2.3, '1.2.3')", True),
    ("eq(1.2.3, 'x')", False),
    ("lt(1.2.3, '1.10.0')", True),
    ("gt('1.9', 1.10)", True),
    ("eq(parameters.foo, parameters.foo)", True),
    ("eq(parameters.foo, 'x')", False),
    ("not('')", True),
    ("not(variables.noSuch)", True),
    ("not(0)", True),
    ("not('false')", False),
    ("format('{0}|{1}|{2}|{3}', true, 1.50, variables.noSuch, 1.2.3)", "True|1.5||1.2.3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text for text, _ in TABLE])
def test_the_documented_result(text: str, expected: object) -> None:
    found = result(text)
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)


def test_the_table_covers_every_function() -> None:
    from azure_pipelines_local.functions import FUNCTIONS

    everything = " ".join(text for text, _ in TABLE)
    assert [name for name in FUNCTIONS if f"{name}(" not in everything] == []


@pytest.mark.parametrize(
    "text", ["and(false, ge(1, 'x'))", "or(true, ge(1, 'x'))", "in(1, 1, ge(1, 'x'))",
             "iif(true, 1, ge(1, 'x'))", "coalesce('a', ge(1, 'x'))"]
)  # fmt: skip
def test_what_is_not_needed_is_not_evaluated(text: str) -> None:
    with pytest.raises(PipelineError):
        result("ge(1, 'x')")
    assert result(text) in (True, False, 1, "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an expression is missing"),
        ("eq(1, 2", "it ends too early"),
        ("eq(1 2)", "')' is expected, not '2'"),
        ("eq(1, 2))", "unexpected ')'"),
        ("eq(1)", "eq takes 2 arguments, not 1"),
        ("and(true)", "and takes at least 2 arguments, not 1"),
        ("equals(1, 2)", "there is no function 'equals' here"),
        ("succeeded()", "there is no function 'succeeded' here"),
        ("secrets.x", "'secrets' is not known here; there is: parameters, pipeline, variables"),
        ('eq("a", 1)', "unexpected '\"a\", 1)'"),
        ("variables.", "it ends too early"),
        ("variables.'x'", "a name has to follow the dot"),
        ("'open", 'unexpected "\'open"'),
        ("1.2.3.4.5", "unexpected '1.2.3.4.5'"),
        ("not(" * 51 + "1" + ")" * 51, "calls are nested more than 50 deep"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        result(text)
    assert message in str(caught.value)
    assert "pipeline.yml:7" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gt(1, 'x')", "'x' is not a number"),
        ("lt(1.2.3, 'x')", "'x' is not a version"),
        ("lt(variables.noSuch, 1)", "null has no order"),
        ("gt(parameters.foo, 1)", "a list has no order"),
        ("format('{1}', 'a')", "{1} has no argument"),
        ("format('{x}', 'a')", "a literal one is doubled"),
        ("format('{0:yyyy}', 'a')", "formats dates, not a string"),
        ("length(parameters.deep)", "takes a string or a list"),
    ],
)
def test_values_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        result(text)
    assert message in str(caught.value)
