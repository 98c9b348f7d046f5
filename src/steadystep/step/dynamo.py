"""Keep torch.compile out of a step, which compiles its own kernels."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Names of this module, because looking them up in torch takes longer than calling them.
is_traced: Callable[[], bool] = torch.compiler.is_dynamo_compiling
"""Return whether torch.compile is tracing the call."""

_eval_frame: Any = getattr(torch._C, "_dynamo").eval_frame  # noqa: B009, its stubs do not have it
tracer: Callable[[], Any] = getattr(_eval_frame, "get_eval_frame_callback", bool)
"""Return what torch.compile does with each function that is called, or None outside of it.

Inside compiled code it traces what a function calls also if it has given up the function itself.
"""


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let torch.compile call a function, and all that it calls, outside its graph.

    torch.compiler.disable would take a microsecond for each call, and would import the compiler, which takes seconds,
    in programs that never use it.
    """
    # Imports the compiler when it is first called.
    outside = torch._disable_dynamo(function)  # type: ignore[reportPrivateImportUsage]

    @wraps(function)
    def either(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if is_traced() or tracer():
            return outside(*arguments, **options)
        return function(*arguments, **options)

    return either
