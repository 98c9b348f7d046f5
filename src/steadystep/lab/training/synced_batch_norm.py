"""Batch norm over the rows of all processes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class SyncedBatchNorm(TorchFunctionMode):
    """A context in which batch norm takes its statistics in training from the rows of all processes.

    torch's SyncBatchNorm does so on GPUs only, and as a module in the place of another one.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, or `synced_batch_norm` in the place of batch norm."""
        if func is functional.batch_norm:
            return synced_batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def synced_batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Compute `torch.nn.functional.batch_norm` with the statistics of all processes' rows.

    Running statistics become the same in all processes.
    """
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    output, mean, var = _Normalise.apply(input, weight, bias, eps)  # pyright: ignore[reportGeneralTypeIssues]
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(var.to(running_var.dtype), momentum)
    return output


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, where mean and var are over the rows of all processes."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        over = [0, *range(2, x.dim())]
        var, mean = torch.var_mean(x, over, correction=0)
        parts = _all_gather(torch.cat([mean, var, mean.new_full((1,), x.numel() / x.shape[1])]))
        channels = x.shape[1]
        means, variances, counts = parts[:, :channels].double(), parts[:, channels:-1].double(), parts[:, -1:].double()
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        # The variance of all rows: that within the processes plus that of their means (Chan, Golub & LeVeque, 1983).
        var = (counts * (variances + (means - mean) ** 2)).sum(0) / count
        scale = (var + eps).rsqrt().to(x.dtype)
        normalised = (x - _broadcast(mean.to(x.dtype), x)) * _broadcast(scale, x)
        output = normalised if weight is None else normalised * _broadcast(weight.to(x.dtype), x)
        output = output if bias is None else output + _broadcast(bias.to(x.dtype), x)
        ctx.save_for_backward(normalised, weight, scale)
        ctx.count, ctx.over, ctx.has_bias = count.item(), over, bias is not None
        unbiased = var * (count / (count - 1).clamp(min=1))
        result = output.to(input.dtype), mean, unbiased
        ctx.mark_non_differentiable(*result[1:])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        normalised, weight, scale = ctx.saved_tensors
        gradient = gradients[0].to(normalised.dtype)
        of_bias = gradient.sum(ctx.over)
        of_weight = (gradient * normalised).sum(ctx.over)
        of_input = None
        if ctx.needs_input_grad[0]:
            sums = torch.cat([of_bias, of_weight])
            dist.all_reduce(sums)
            mean_bias, mean_weight = (sums / ctx.count).chunk(2)
            factor = scale if weight is None else scale * weight.to(scale.dtype)
            inner = gradient - _broadcast(mean_bias, gradient) - normalised * _broadcast(mean_weight, gradient)
            of_input = (_broadcast(factor, gradient) * inner).to(gradients[0].dtype)
        return (
            of_input,
            None if weight is None else of_weight.to(weight.dtype),
            of_bias if ctx.has_bias else None,
            None,
        )


def _all_gather(values: torch.Tensor) -> torch.Tensor:
    """Return the values of all processes, (processes, values)."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values)
    return torch.stack(parts)


def _broadcast(channels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """View one number per channel so that it broadcasts over a batch."""
    return channels.view(1, -1, *[1] * (like.dim() - 2))
