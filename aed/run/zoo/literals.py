"""Texts that ST's zoo hands to Python's ``eval``, read as literals and arithmetic; nothing is run."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from aed.base.errors import AedError

MOST_CHARACTERS = 1000
"""Of a text that is looked into."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluated(value: Any) -> Any:
    """What a text stands for: ``(64, 96, 1)``, ``1./255``, ``10-2``, ``True``; other values and texts as they are."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        return value
    try:
        found = _literal(ast.parse(value.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError):
        return value
    return found if isinstance(found, bool | int | float | tuple) else value


def call(text: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of ``Adam(learning_rate=0.001)``, or a bare ``Adam``.

    Raises:
        AedError: It is something else.
    """
    try:
        body = ast.parse(text.strip()[:MOST_CHARACTERS], mode="eval").body
        if isinstance(body, ast.Name):
            return body.id, {}
        if isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and not body.args:
            return body.func.id, {str(own.arg): _literal(own.value) for own in body.keywords}
    except (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError):
        pass
    raise AedError(f"need a name, or a name with arguments, got {text[:60]!r}")


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _literal(node.left), _literal(node.right)
        if not all(isinstance(side, int | float) for side in (left, right)):
            raise ValueError("arithmetic of numbers alone")
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    return ast.literal_eval(node)
