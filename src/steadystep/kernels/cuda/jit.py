"""Make Triton functions from generated source and from rules; Triton compiles source text, not bytecode."""

import ast
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any, cast

import triton
import triton.language as tl

from steadystep.kernels.cuda.intrinsics import BUILT_IN, FUNCTIONS


@cache
def bind_rule(function: Callable[..., Any], precision: str) -> Any:
    """Translate a rule's function to a Triton function over blocks of "float32" or "float64" numbers.

    The source is the same, with Triton's names in place of those of `steadystep.tracing.ops`. Keyword arguments become
    positional ones, in their order. Functions that it calls are translated too.
    """
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef), "a rule is a function with a name"
    names = [argument.arg for argument in (*definition.args.args, *definition.args.kwonlyargs)]
    definition.args = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    definition.decorator_list, definition.returns = [], None
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    translation = _Translation(cast(FunctionType, function), precision)
    source = ast.unparse(ast.fix_missing_locations(translation.visit(definition)))
    return make_function(function.__name__, source, translation.called)


class _Translation(ast.NodeTransformer):
    """Translates names to those of Triton, inserts constants of the rule's module, and binds its functions."""

    def __init__(self, function: FunctionType, precision: str) -> None:
        self._precision, self._module = precision, function.__globals__
        self._unchanged = {*function.__code__.co_varnames, *FUNCTIONS}
        self.called: dict[str, Any] = {}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._unchanged:
            return node
        built_in = BUILT_IN[self._precision].get(node.id)
        if built_in:
            return _expression(built_in)
        value = self._module.get(node.id)
        if isinstance(value, FunctionType):
            self.called[node.id] = bind_rule(value, self._precision)
        return ast.Constant(value) if isinstance(value, int | float) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        division = BUILT_IN[self._precision].get("/")  # none where Triton's own division is exact
        if isinstance(node.op, ast.Div) and division:
            return ast.Call(_expression(division), [node.left, node.right], [])
        return node


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def make_function(name: str, source: str, names: Mapping[str, Any], unspecialised: Sequence[str] = ()) -> Any:
    """Make the Triton function `name` that `source` defines, with `names` and the intrinsics as its globals.

    Triton does not specialise on the alignment of the pointers `unspecialised`, which would compile the function again.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    file = f"<steadystep {name} {digest}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"tl": tl, **FUNCTIONS, **names, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return triton.jit(do_not_specialize_on_alignment=list(unspecialised))(namespace[name])
