"""Drivers' filter and goodness functions: arithmetic over facts, read by a small parser and never run as code.

Source: Manila's "Driver filter and goodness weigher". Operators from the tightest to the loosest: a function's call
(`max(a, b)`), `^`, signs, `* /`, `+ -`, `not`, comparisons (a chain, as `1 < x < 9`), `c ? a : b`, `and`, `or`.
A name with a dot (`share.size`) is a fact, one without is a word, as is what stands in quotes.
"""

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Facts = Mapping[str, Mapping[str, Any]]
Node = Callable[[Facts], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d+|\d+)|(?P<name>[A-Za-z_.]+)|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<sign><=|>=|!=|==|<>|&&|\|\||[-+*/^<>?:,()!]))"
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min}
DEEPEST = 50


class BadExpression(ValueError):
    """A function that cannot be read, or that fails on these facts."""


def evaluate(text: str, facts: Facts) -> Any:
    """Return the value of an expression: a number, a truth value or a word. Raises `BadExpression`."""
    try:
        return _parsed(text)(facts)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise BadExpression(f"{text!r}: {error}") from error


@lru_cache(maxsize=256)
def _parsed(text: str) -> Node:
    return _Parser(text).whole()


class _Parser:
    """A recursive descent: each method reads one level of precedence and returns what computes it."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._or()
        if self._peek() is not None:
            raise BadExpression(f"{self._peek()!r} is not expected")
        return node

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *wanted: str) -> str | None:
        token = self._peek()
        if token is None or token not in wanted:
            return None
        self._at += 1
        return token

    def _must(self, wanted: str) -> None:
        if self._take(wanted) is None:
            raise BadExpression(f"{wanted!r} is missing")

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadExpression("it is nested too deeply")
        node = self._and()
        while self._take("or", "OR", "||"):
            node = _either(node, self._and())
        self._depth -= 1
        return node

    def _and(self) -> Node:
        node = self._choice()
        while self._take("and", "AND", "&&"):
            node = _both(node, self._choice())
        return node

    def _choice(self) -> Node:
        condition = self._comparison()
        if not self._take("?"):
            return condition
        yes = self._comparison()
        self._must(":")
        no = self._comparison()
        return lambda facts: yes(facts) if condition(facts) else no(facts)

    def _comparison(self) -> Node:
        first = self._negation()
        chain: list[tuple[Callable[[Any, Any], bool], Node]] = []
        while sign := self._take(*_COMPARISONS):
            chain.append((_COMPARISONS[sign], self._negation()))
        return _chained(first, chain) if chain else first

    def _negation(self) -> Node:
        if self._take("not", "NOT", "!"):
            node = self._negation()
            return lambda facts: not node(facts)
        return self._sum()

    def _sum(self) -> Node:
        node = self._product()
        while sign := self._take("+", "-"):
            node = _binary(operator.add if sign == "+" else operator.sub, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while sign := self._take("*", "/"):
            node = _binary(operator.mul if sign == "*" else operator.truediv, node, self._signed())
        return node

    def _signed(self) -> Node:
        sign = self._take("+", "-")
        if sign is None:
            return self._power()
        node = self._signed()
        return node if sign == "+" else lambda facts: -node(facts)

    def _power(self) -> Node:
        node = self._atom()
        if not self._take("^"):
            return node
        exponent = self._signed()
        # Of floats: whole numbers could grow without end.
        return lambda facts: float(node(facts)) ** float(exponent(facts))

    def _atom(self) -> Node:
        if self._take("("):
            node = self._or()
            self._must(")")
            return node
        token = self._peek()
        if token is None:
            raise BadExpression("it ends too early")
        self._at += 1
        if token in _FUNCTIONS and self._peek() == "(":
            return self._call(_FUNCTIONS[token])
        return _constant(token)

    def _call(self, function: Callable[..., Any]) -> Node:
        self._must("(")
        arguments = [self._or()]
        while self._take(","):
            arguments.append(self._or())
        self._must(")")
        return lambda facts: function(*(argument(facts) for argument in arguments))


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise BadExpression(f"{stripped[at:]!r} cannot be read")
        found.append(match.group(0).strip())
        at = match.end()
    return found


def _constant(token: str) -> Node:
    if token[0].isdigit():
        number = float(token) if "." in token else int(token)
        return lambda _: number
    if token[0] in "\"'":
        return lambda _: token[1:-1]
    group, dot, name = token.partition(".")
    if dot and group and name and "." not in name:
        return lambda facts: _fact(facts, group, name)
    if token[0].isalpha() or token[0] == "_":
        return lambda _: token
    raise BadExpression(f"{token!r} is not expected")


def _fact(facts: Facts, group: str, name: str) -> Any:
    try:
        value = facts[group][name]
    except KeyError:
        raise BadExpression(f"there is no {group}.{name}") from None
    return _as_number(value)


def _as_number(value: Any) -> Any:
    """Return a fact as a number if it is or says one: extra specs are text."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _binary(combine: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda facts: combine(left(facts), right(facts))


def _both(left: Node, right: Node) -> Node:
    return lambda facts: left(facts) and right(facts)


def _either(left: Node, right: Node) -> Node:
    return lambda facts: left(facts) or right(facts)


def _chained(first: Node, chain: list[tuple[Callable[[Any, Any], bool], Node]]) -> Node:
    def compare(facts: Facts) -> bool:
        left = first(facts)
        for holds, node in chain:
            right = node(facts)
            if not holds(left, right):
                return False
            left = right
        return True

    return compare
