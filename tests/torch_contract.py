"""What the tests of PyTorch's contract share: its own generic optimizer tests, for every row of our table.

They are in tests/optimizers: test_parameters, test_checkpoints, test_invalid_parameters and test_schedulers_and_hooks.

These tests of PyTorch (test/test_optim.py) are left out:

- foreach, fused, capturable, differentiable: other implementations of torch's rules. Ours are selected with
  ``backend=``, and torch's names are refused (test_arguments). A checkpoint with these flags set loads
  (test_checkpoints).
- comparisons of a for-loop with foreach or fused, peak memory of foreach, defaults changed to foreach: there is one
  eager implementation, which is compared with torch (test_torch_parity) and with scalar references (test_references).
- CUDA graphs, GradScaler with fused, several devices in one optimizer, checkpoints that move between devices: these
  need a GPU (kernels/test_device has such tests; test_guard tests the GradScaler on a CPU).
- sparse gradients and SparseAdam: they are refused, with advice (test_arguments).
- options of optimizers that the package does not have (Rprop, ASGD, Adadelta, Adafactor, Adamax, LBFGS, Muon).
- ``lr`` as a required argument: every optimizer here has a default.
- one parameter twice in a group: torch warns that this will be an error, and so do we; the result is not specified.
"""

import io
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import steadystep
from cases import OPTIMIZERS, OptimizerCase

SHAPES = ((4, 3), (3,), ())
STEPS = 8  # RAdam rectifies from its sixth step on
Parameters = list[torch.Tensor]
every_case = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
peers = pytest.mark.parametrize("case", [case for case in OPTIMIZERS if case.peer], ids=str)


def fresh(dtype: torch.dtype = torch.float64, shapes: Sequence[tuple[int, ...]] = SHAPES) -> Parameters:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def clones(params: Parameters, dtype: torch.dtype | None = None) -> Parameters:
    return [param.detach().clone().to(dtype or param.dtype).requires_grad_() for param in params]


def gradient(param: torch.Tensor, step: int, salt: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * step + salt)
    return torch.randn(param.shape, generator=generator).to(param.dtype)


def train(optimizer: torch.optim.Optimizer, params: Parameters, steps: range = range(STEPS)) -> Parameters:
    for step in steps:
        for salt, param in enumerate(params):
            param.grad = gradient(param, step, salt)
        optimizer.step()
    return [param.detach() for param in params]


def same(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def close(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> None:
    torch.testing.assert_close(list(ours), list(theirs), rtol=1e-12, atol=1e-14)


def without_decay(case: OptimizerCase, params: Any, **more: Any) -> steadystep.Optimizer:
    return case.make(params, **{"weight_decay": 0.0, **more})


def save_and_load(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
