"""An optimizer with its parameters, on each of the sides that a test compares: compiled, eager and torch's own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cases import OptimizerCase

SHAPES = ((33, 33), (5, 7), (1027,), (3,))
"""Of the parameters: one that can be transposed in place, one in more than one block, and small ones."""

GROUPS = ((0, 1), (2,), (3,))
"""Which of them each parameter group has."""

MOST = 6
"""The largest number of parameters, some of which are added later."""


@dataclass
class Setting:
    """What all sides have in common.

    Attributes:
        case: the optimizer with its options.
        dtype: of the parameters.
        clip: as the optimizer takes it.
        named: whether the parameters have names.
    """

    case: OptimizerCase
    dtype: torch.dtype
    clip: Any
    named: bool


@dataclass
class Side:
    """The parameters and the optimizer of one side.

    Attributes:
        kind: "compiled", "eager" or "torch".
        params: all parameters, in the order in which they were made.
    """

    kind: str
    setting: Setting
    params: list[torch.Tensor]
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = self.make([[self.params[number] for number in group] for group in GROUPS])

    def make(self, groups: Sequence[Sequence[torch.Tensor]]) -> torch.optim.Optimizer:
        """Return a new optimizer of this side for groups of parameters."""
        case, entries = self.setting.case, [{"params": self.with_names(group)} for group in groups]
        if self.kind == "torch":
            return peer_of(case, entries)
        backend = "eager" if self.kind == "eager" else None
        return case.make(entries, clip=self.setting.clip, backend=backend)

    def with_names(self, params: Sequence[torch.Tensor]) -> list[Any]:
        """Return the parameters as an optimizer takes them, with their names if they have any."""
        if not self.setting.named:
            return list(params)
        return [(f"weight{self.number_of(param)}", param) for param in params]

    def number_of(self, param: torch.Tensor) -> int:
        """Return the position of a parameter among all parameters."""
        return next(number for number, one in enumerate(self.params) if one is param)

    def add(self, param: torch.Tensor) -> None:
        """Add a parameter in a group of its own."""
        self.params.append(param)
        self.optimizer.add_param_group({"params": self.with_names([param]), "lr": 0.02})

    def has_state(self, number: int) -> bool:
        """Return whether a parameter has state."""
        return bool(self.optimizer.state.get(self.params[number]))

    def will_step(self, param: torch.Tensor) -> bool:
        """Return whether a parameter is in a group."""
        return any(param is one for group in self.optimizer.param_groups for one in group["params"])

    def dtypes(self) -> set[torch.dtype]:
        """Return the floating-point dtypes of the parameters and their state."""
        state = [value for entry in self.optimizer.state.values() for name, value in entry.items() if name != "step"]
        tensors = [value for value in (*self.params, *state) if isinstance(value, torch.Tensor)]
        return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}

    def copies(self) -> list[torch.Tensor]:
        """Return copies of the parameters, but for those whose memory has been freed."""
        return [param.detach().clone() for param in self.params if param.untyped_storage().nbytes()]


def peer_of(case: OptimizerCase, params: Any) -> torch.optim.Optimizer:
    """Return the optimizer of torch with the same definition."""
    assert case.peer is not None
    return case.peer(params, **case.options)


def accept_any_gradient(param: torch.Tensor) -> torch.Tensor:
    """Return a parameter whose gradients may be of any dtype, where torch supports that."""
    if hasattr(param, "grad_dtype"):
        param.grad_dtype = None
    return param


def new_parameter(shape: Sequence[int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Return a parameter with random elements."""
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return accept_any_gradient(torch.nn.Parameter(value.to(dtype)))


def sides_of(setting: Setting) -> list[Side]:
    """Return the sides, with equal parameters; that of torch only where it defines the same steps."""
    alike = setting.case.peer is not None and setting.clip is None and setting.dtype.itemsize > 2
    if setting.case.name == "NAdam" and setting.dtype != torch.get_default_dtype():
        alike = False  # torch keeps a product of betas in the default dtype
    kinds = ["compiled", "eager", *(["torch"] if alike else [])]
    return [
        Side(kind, setting, [new_parameter(shape, setting.dtype, seed) for seed, shape in enumerate(SHAPES)])
        for kind in kinds
    ]
