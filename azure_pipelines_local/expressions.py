"""The expression language: tokens, a recursive-descent parser, a small tree, its evaluation.

The same language is behind ``${{ }}``, ``$[ ]`` and ``condition:``; they differ in the names and functions they offer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping as MappingOf
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.functions import FUNCTIONS, Arguments, Function, FunctionError
from azure_pipelines_local.values import NotComparable, Value, to_number, to_text, value_of
from azure_pipelines_local.yaml_source import NOWHERE, Mapping, Scalar, Sequence, Version


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written out."""

    value: Value


@dataclass(frozen=True, slots=True)
class Name:
    """A context such as ``variables``, or the variable of a loop."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """``of[key]`` or ``of.key``."""

    of: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class Every:
    """``of.*``: a filtered array."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    function: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = "Literal | Name | Index | Every | Call"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What an expression may name and call in some place."""

    names: frozenset[str]
    functions: frozenset[str]

    @classmethod
    def of(cls, names: Collection[str], functions: Collection[str] = ()) -> Vocabulary:
        """These names, and these functions besides the general ones."""
        lower = {name.lower() for name in {*FUNCTIONS, *functions}}
        return cls(frozenset(name.lower() for name in names), frozenset(lower))


_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<version>-?\d+(?:\.\d+){2,3}(?![\w.]))
    | (?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?![\w.]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<symbol>[()\[\],.*])
    )""",
    re.VERBOSE,
)


def parse(text: str, where: Location, vocabulary: Vocabulary) -> Expression:
    """The tree of an expression.

    Raises:
        PipelineError: it is no expression, or names or calls what does not exist in this place.
    """
    return _Parser(text, where, vocabulary).parse()


class _Parser:
    def __init__(self, text: str, where: Location, vocabulary: Vocabulary) -> None:
        self._text = text
        self._where = where
        self._vocabulary = vocabulary
        self._tokens = list(self._tokenize())
        self._next = 0
        self._depth = 0

    def _tokenize(self) -> Iterator[_Token]:
        at = 0
        end = len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if not match or match.lastgroup is None:
                raise self._error(f"unexpected {self._text[at:].strip()[:20]!r}")
            yield _Token(match.lastgroup, match[match.lastgroup], at)
            at = match.end()

    def parse(self) -> Expression:
        if not self._tokens:
            raise self._error("an expression is missing")
        tree = self._operand()
        if self._next < len(self._tokens):
            raise self._error(f"unexpected {self._tokens[self._next].text!r}")
        return tree

    def _operand(self) -> Expression:
        token = self._take()
        if token.kind == "string":
            tree: Expression = Literal(token.text[1:-1].replace("''", "'"))
        elif token.kind == "number":
            tree = Literal(float(token.text))
        elif token.kind == "version":
            tree = Literal(Version(tuple(int(part) for part in token.text.split("."))))
        elif token.kind == "name":
            tree = self._named(token)
        else:
            raise self._error(f"unexpected {token.text!r}")
        while (symbol := self._peek()) in (".", "["):
            self._take()
            tree = self._property(tree) if symbol == "." else self._index(tree)
        return tree

    def _named(self, token: _Token) -> Expression:
        lower = token.text.lower()
        if self._peek() == "(":
            return self._call(token)
        if lower in ("true", "false"):
            return Literal(lower == "true")
        if lower not in self._vocabulary.names:
            known = ", ".join(sorted(self._vocabulary.names))
            raise self._error(f"{token.text!r} is not known here; there is: {known}")
        return Name(lower)

    def _call(self, token: _Token) -> Expression:
        name = token.text
        function = FUNCTIONS_BY_LOWER.get(name.lower())
        if name.lower() not in self._vocabulary.functions:
            raise self._error(f"there is no function {name!r} here")
        self._take()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"calls are nested more than {_DEEPEST} deep")
        arguments: list[Expression] = []
        if self._peek() != ")":
            arguments.append(self._operand())
            while self._peek() == ",":
                self._take()
                arguments.append(self._operand())
        self._expect(")")
        self._depth -= 1
        if function and not function.minimum <= len(arguments) <= function.maximum:
            wanted = (
                f"{function.minimum}"
                if function.minimum == function.maximum
                else f"at least {function.minimum}"
            )
            raise self._error(f"{name} takes {wanted} arguments, not {len(arguments)}")
        return Call(name.lower(), tuple(arguments))

    def _property(self, of: Expression) -> Expression:
        token = self._take()
        if token.text == "*":
            return Every(of)
        if token.kind != "name":
            raise self._error(f"a name has to follow the dot, not {token.text!r}")
        return Index(of, Literal(token.text))

    def _index(self, of: Expression) -> Expression:
        if self._peek() == "*":
            self._take()
            self._expect("]")
            return Every(of)
        key = self._operand()
        self._expect("]")
        return Index(of, key)

    def _peek(self) -> str | None:
        if self._next == len(self._tokens) or self._tokens[self._next].kind != "symbol":
            return None
        return self._tokens[self._next].text

    def _take(self) -> _Token:
        if self._next == len(self._tokens):
            raise self._error("it ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, symbol: str) -> None:
        token = self._take()
        if token.kind != "symbol" or token.text != symbol:
            raise self._error(f"{symbol!r} is expected, not {token.text!r}")

    def _error(self, message: str) -> PipelineError:
        return PipelineError(f"expression `{self._text.strip()}`: {message}", self._where)


FUNCTIONS_BY_LOWER = {name.lower(): function for name, function in FUNCTIONS.items()}


@dataclass(frozen=True, slots=True)
class Context:
    """What names mean, and the functions of one place besides the general ones. All keys in lower case."""

    names: MappingOf[str, Value]
    functions: MappingOf[str, Function]

    @property
    def vocabulary(self) -> Vocabulary:
        """What may be written with this context."""
        return Vocabulary(frozenset(self.names), frozenset({*FUNCTIONS_BY_LOWER, *self.functions}))


class _Filtered(list[Value]):
    """What ``.*`` selected: indexing it indexes every element."""


def evaluate(tree: Expression, context: Context, where: Location = NOWHERE) -> Value:
    """The value of an expression.

    Raises:
        PipelineError: values do not fit the functions they are given to.
    """
    try:
        value = _evaluate(tree, context)
    except (FunctionError, NotComparable) as error:
        raise PipelineError(str(error), where) from None
    return _collected(value)


def _collected(value: Value | _Filtered) -> Value:
    if isinstance(value, _Filtered):
        nodes = (
            item if isinstance(item, Sequence | Mapping) else Scalar(item, NOWHERE)
            for item in value
        )
        return Sequence(tuple(nodes), NOWHERE)
    return value


def _evaluate(tree: Expression, context: Context) -> Value | _Filtered:
    match tree:
        case Literal(value):
            return value
        case Name(name):
            return context.names[name]
        case Every(of):
            return _Filtered(_elements(_evaluate(of, context)))
        case Index(of, key):
            return _look_up(_evaluate(of, context), _collected(_evaluate(key, context)))
        case Call(name, arguments):
            function = context.functions.get(name) or FUNCTIONS_BY_LOWER[name]
            return function.call(Arguments([partial(_argument, a, context) for a in arguments]))


def _argument(tree: Expression, context: Context) -> Value:
    return _collected(_evaluate(tree, context))


def _elements(value: Value | _Filtered) -> list[Value]:
    if isinstance(value, _Filtered):
        return [element for item in value for element in _elements(item)]
    if isinstance(value, Sequence):
        return [value_of(item) for item in value.items]
    if isinstance(value, Mapping):
        return [value_of(item) for _, item in value.entries]
    return []


def _look_up(value: Value | _Filtered, key: Value) -> Value | _Filtered:
    if isinstance(value, _Filtered):
        found = (_collected(_look_up(item, key)) for item in value)
        return _Filtered(item for item in found if item is not None)
    if isinstance(value, Mapping):
        node = value.get(to_text(key))
        return None if node is None else value_of(node)
    if isinstance(value, Sequence):
        number = to_number(key)
        if number is not None and 0 <= int(number) < len(value.items):
            return value_of(value.items[int(number)])
    return None


def walk(tree: Expression) -> Iterator[Expression]:
    """The expression and everything in it."""
    yield tree
    match tree:
        case Index(of, key):
            yield from walk(of)
            yield from walk(key)
        case Every(of):
            yield from walk(of)
        case Call(_, arguments):
            for argument in arguments:
                yield from walk(argument)
