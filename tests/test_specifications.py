"""Tests that cannot fail are found by reading them: each test must assert something that can be false."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in TESTS}
Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Calls that fail by themselves.
CHECKS = ("raises", "warns", "fail", "validate", "result")


def functions(tree: ast.AST) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def called(node: ast.AST) -> Iterator[str]:
    """The last part of the name of everything that is called."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            yield ast.unparse(call.func).rpartition(".")[2]


def asserts(node: ast.AST) -> bool:
    """Whether something in it can fail."""
    return any(isinstance(part, ast.Assert) for part in ast.walk(node)) or any(
        name in CHECKS or name.startswith("assert_") for name in called(node)
    )


#: Helpers of the tests that assert.
HELPERS = {
    function.name
    for tree in TREES.values()
    for function in functions(tree)
    if not function.name.startswith("test_") and asserts(function)
}


def always_true(test: ast.expr) -> bool:
    """Whether an assertion says nothing: a constant, a tuple, ``x or True``, ``x >= 0`` of a length."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Tuple | ast.List):
        return bool(test.elts)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(always_true(value) for value in test.values)
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.GtE) and len(test.ops) == 1:
        left, right = test.left, test.comparators[0]
        is_length = isinstance(left, ast.Call) and ast.unparse(left.func) == "len"
        return is_length and isinstance(right, ast.Constant) and right.value == 0
    return False


def test_every_test_asserts_something() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path, tree in TREES.items()
        for function in functions(tree)
        if function.name.startswith("test_") and not asserts(function) and not HELPERS & set(called(function))
    ]
    assert silent == []


def test_no_assertion_is_true_whatever_happens() -> None:
    hollow = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)[:80]}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and always_true(node.test)
    ]
    assert hollow == []


def test_no_test_swallows_every_error() -> None:
    swallowed = [
        f"{path.relative_to(ROOT)}:{handler.lineno}"
        for path, tree in TREES.items()
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and all(isinstance(step, ast.Pass) for step in handler.body)
        and (
            handler.type is None
            or ast.unparse(handler.type) in ("Exception", "BaseException", "AssertionError")
        )
    ]
    assert swallowed == []


def test_what_this_file_looks_for_it_finds() -> None:
    tree = ast.parse(
        "assert 1\nassert (x, 'why')\nassert x or True\nassert len(x) >= 0\nassert x\nassert x >= 0"
    )
    assert [always_true(node.test) for node in tree.body if isinstance(node, ast.Assert)] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert not asserts(ast.parse("def test_a():\n    run()"))
    assert asserts(ast.parse("def test_a():\n    with pytest.raises(E):\n        run()"))
