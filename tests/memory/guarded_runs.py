"""What is done with all tensors on guarded pages: steps, clipping in place, and changes between steps."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

import steadystep
from cases import OptimizerCase
from memory.guarded_changes import Change
from memory.guarded_pages import Pages

SHAPES = {
    "small": ((1,), (3,), (5, 7), (1023,), (1025,), (2, 1025)),
    "large": ((33000,), (3, 11003), (1025, 3), ()),
    "transposed": ((5, 7), (33, 1001), (3,)),
}
"""Tensors that end within a block and shortly after one, in one chunk and in several."""

CLIPS: dict[str, Callable[[], Any]] = {
    "no clip": lambda: None,
    "norm": lambda: steadystep.ClipNorm(3.0),
    "value": lambda: steadystep.ClipValue(0.3),
    "units": lambda: steadystep.AGC(0.05),
    # What the kernel cannot apply itself is applied first, to copies, which are float32 for half precision.
    "chain": lambda: [steadystep.ClipValue(0.5), 1.0, steadystep.ClipValue(0.1)],
    "update": lambda: steadystep.ClipUpdate(0.5),
}

STEPS = 6
"""After the first, the state is moved. Then a step makes a plan, one is captured, and the others are replayed."""

Dtypes = tuple[torch.dtype, torch.dtype | None]
"""The dtype of the parameters, and that of their gradients if it is another one."""

REFUSALS = (ValueError, RuntimeError, TypeError, IndexError)


def fresh(pages: Pages, dtypes: Dtypes, sizes: str) -> list[torch.Tensor]:
    """Return parameters of some sizes, which are a key of `SHAPES`."""
    dtype, grad_dtype = dtypes
    params = []
    for number, shape in enumerate(SHAPES[sizes]):
        value = torch.randn(shape, generator=torch.Generator().manual_seed(number)).to(dtype)
        order = range(len(shape))[::-1] if sizes == "transposed" else None
        param = torch.nn.Parameter(pages.hold(value, order))
        if grad_dtype is not None:
            param.grad_dtype = grad_dtype
        params.append(param)
    return params


def set_gradients(pages: Pages, params: Iterable[torch.Tensor], step: int, dtypes: Dtypes) -> None:
    """Give each parameter a new gradient in the layout of the parameter, or a contiguous one in step 4."""
    for number, param in enumerate(params):
        generator = torch.Generator().manual_seed(100 * step + number)
        value = torch.randn(param.shape, generator=generator).to(dtypes[1] or param.dtype)
        param.grad = pages.hold(value, None if step == 4 else _order(param))


def move_state(pages: Pages, optimizer: torch.optim.Optimizer) -> None:
    """Move every tensor of the state, and those that are kept in the parameter groups."""
    for state in optimizer.state.values():
        state.update({name: pages.hold(x, _order(x)) for name, x in state.items() if isinstance(x, torch.Tensor)})
    for group in optimizer.param_groups:
        group.update({name: pages.hold(x) for name, x in group.items() if isinstance(x, torch.Tensor)})


def _order(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """Return the order of the dimensions of a matrix in memory."""
    return (1, 0) if tensor.dim() == 2 and not tensor.is_contiguous() else None


def steps(case: OptimizerCase, dtypes: Dtypes, clip: str, sizes: str, pages: Pages) -> None:
    """Take steps with new gradients in all but one."""
    params = fresh(pages, dtypes, sizes)
    optimizer = case.make(params, clip=CLIPS[clip]())
    for step in range(STEPS):
        if step != 3:
            set_gradients(pages, params, step, dtypes)
        optimizer.step()
        if step == 0:
            move_state(pages, optimizer)
    assert optimizer.ledger["applied"] == STEPS
    if (dtypes, clip, sizes) == ((torch.float32, None), "no clip", "small"):
        assert optimizer._plan and optimizer._plan.captured and optimizer._plan.captured.capture, "no step was replayed"


def steps_under_guard(dtypes: Dtypes, clip: str, sizes: str, pages: Pages) -> None:
    """Take steps of an optimizer of torch under `guard`: Adam, or SGD where Adam refuses the gradient's dtype."""
    params = fresh(pages, dtypes, sizes)
    alike = dtypes[1] is None
    # A larger eps, because the square of a float16 element is often 0.
    peer = torch.optim.Adam(params, eps=1e-3, foreach=False) if alike else torch.optim.SGD(params, foreach=False)
    optimizer = steadystep.guard(peer, clip=CLIPS[clip]())
    for step in range(STEPS):
        set_gradients(pages, params, step, dtypes)
        optimizer.step()
        if step == 0:
            move_state(pages, optimizer)


def clip_in_place(dtypes: Dtypes, clip: str, sizes: str, pages: Pages) -> None:
    """Clip gradients in place, first in the layout of their parameters and then contiguous ones."""
    params = fresh(pages, dtypes, sizes)
    for step in (3, 4):
        set_gradients(pages, params, step, dtypes)
        steadystep.clip_gradients(params, CLIPS[clip]())


def steps_around_change(case: OptimizerCase, change: Change, when: int, pages: Pages) -> None:
    """Change tensors before a step: it and those that follow stay in the new ones, or one of them is refused."""
    dtypes = (torch.float32, None)
    params = fresh(pages, dtypes, "small")
    optimizer = case.make(params, clip=1.0)
    for step in range(when + 4):
        try:
            if step == when:
                change.make(pages, optimizer, params)
            if step != when or not change.keeps_gradients:
                set_gradients(pages, params, step, dtypes)
            optimizer.step()
        except REFUSALS as error:
            assert step >= when, f"refused before the change: {error}"
            return
        if step == 0:
            move_state(pages, optimizer)
    assert not change.illegal, "the change was not refused"
