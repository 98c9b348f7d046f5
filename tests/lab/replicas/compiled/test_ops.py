"""Fused operations agree with torch's operations bit for bit."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad_and_value, vmap
from torch.nn import functional

from steadystep.lab.replicas.compiled.ops import BIASED, BIASED_RELU, CROSS_ENTROPY, RELU_BACKWARD, gather_instruction
from steadystep.lab.replicas.compiled.program import Program, run_op

aten = torch.ops.aten
sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40))
types = st.sampled_from([torch.float32, torch.float64])

KNOWN_VECTORS = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Whether torch sums in an order that the fused operations reproduce."""


def cross_entropy(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute losses, gradients, and their sums over the batch with torch, one replica at a time."""
    losses, gradients = [], []
    for scores, label in zip(x, labels, strict=True):
        leaf = scores.clone().requires_grad_()
        loss = functional.cross_entropy(leaf, label)
        [gradient] = torch.autograd.grad(loss, leaf)
        losses.append(loss.detach())
        gradients.append(gradient)
    return torch.stack(losses), torch.stack(gradients), torch.stack([each.sum(0, keepdim=True) for each in gradients])


@given(sizes, types, st.integers(0, 99))
def test_fused_operations_agree_with_torch(size: tuple[int, int, int], dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    replicas, rows, width = size
    x, gradient, bias = some(*size), some(*size), some(replicas, 1, width)
    y = torch.relu(x)
    labels = torch.randint(width, (replicas, rows), generator=generator)
    back = aten.threshold_backward(gradient, y, 0)
    score_gradients, losses = vmap(grad_and_value(functional.cross_entropy))(x, labels)
    for op, arguments, expected in (
        (BIASED, (x, bias), (x + bias,)),
        (BIASED_RELU, (x, bias), (torch.relu(x + bias),)),
        (RELU_BACKWARD, (gradient, y), (back, back.sum(1, keepdim=True))),
        (CROSS_ENTROPY, (x, labels), (losses, score_gradients, score_gradients.sum(1, keepdim=True))),
    ):
        for found, wanted in zip(run_op(op, *arguments), expected, strict=True):
            tolerance = 64 * torch.finfo(dtype).eps
            torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_values_agree_with_torch(bad: float) -> None:
    x, bias = torch.linspace(-1, 1, 12).view(1, 3, 4), torch.zeros(1, 1, 4)
    labels = torch.tensor([[0, 1, 2]])
    for place in range(12):
        spoiled = x.clone()
        spoiled.view(-1)[place] = bad
        torch.testing.assert_close(run_op(BIASED_RELU, spoiled, bias)[0], torch.relu(spoiled), equal_nan=True)
        [back, _] = run_op(RELU_BACKWARD, spoiled, torch.relu(x))
        torch.testing.assert_close(back, aten.threshold_backward(spoiled, torch.relu(x), 0), equal_nan=True)
        for found, expected in zip(run_op(CROSS_ENTROPY, spoiled, labels), cross_entropy(spoiled, labels), strict=True):
            torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("label", [-100, -1, 4, 2**40])
def test_an_invalid_label_makes_the_loss_nan(label: int) -> None:
    """Memory outside the scores must not be read."""
    losses, _, _ = run_op(CROSS_ENTROPY, torch.zeros(2, 3, 4), torch.tensor([[0, 1, 2], [3, label, 0]]))
    assert losses[0].item() == pytest.approx(torch.log(torch.tensor(4.0)).item()) and losses[1].isnan()


@pytest.mark.skipif(not KNOWN_VECTORS, reason="torch uses other vectors on this machine")
@pytest.mark.parametrize("rows", [1, 3, 15, 16, 17, 64, 100, 250])
def test_fused_operations_agree_to_the_last_bit(rows: int) -> None:
    """If they did not, replicas would differ from the same trials trained alone."""
    generator = torch.Generator().manual_seed(rows)

    def some(width: int) -> torch.Tensor:
        return torch.randn(2, rows, width, generator=generator)

    for width in (2, 3, 5, 7, 8, 10, 15, 16, 17, 31, 32, 33, 48, 63, 64, 70, 100, 128, 256):
        gradient, y = some(width), some(width)
        x_gradient, bias_gradient = run_op(RELU_BACKWARD, gradient, y)
        expected = aten.threshold_backward(gradient, y, 0)
        assert torch.equal(x_gradient, expected)
        assert torch.equal(bias_gradient, torch.stack([each.sum(0, keepdim=True) for each in expected])), width
        for scale in (0.1, 3.0, 100.0):
            scores, labels = scale * some(width), torch.randint(width, (2, rows), generator=generator)
            losses, *found = run_op(CROSS_ENTROPY, scores, labels)
            expected_losses, *expected = cross_entropy(scores, labels)
            torch.testing.assert_close(losses, expected_losses)
            assert all(map(torch.equal, found, expected)), (width, scale)


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="needs AVX-512")
def test_fused_operations_agree_to_the_last_bit_with_narrower_vectors() -> None:
    """AVX-512 is disabled in torch, as on a machine without it."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"{__file__}",
            "-k",
            "last_bit and not narrower",
        ],
        check=False,
        env={**os.environ, "ATEN_CPU_CAPABILITY": "avx2"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0 and "8 passed" in ran.stdout, ran.stdout[-2000:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.int64])
def test_gather(dtype: torch.dtype) -> None:
    examples, x = torch.randint(99, (7, 2, 3)).to(dtype), torch.zeros(2, 4, 2, 3, dtype=dtype)
    indices = torch.tensor([[6, 0, 0, 3], [1, 2, 6, 5]])
    program = Program([gather_instruction(examples, indices, x, torch.float32)])
    for values in (indices.clone(), indices.flip(0)):
        indices.copy_(values)
        program.run()
        assert torch.equal(x, examples[values])
