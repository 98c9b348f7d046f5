"""`blackbox`: make the black box of a run from the model, the optimizer and what else has a state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from steadystep.arguments import checked, described
from steadystep.recorder.box import BlackBox
from steadystep.recorder.tensor_file import check_installed


@checked
def blackbox(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: str | Path | None,
    *,
    scaler: Any = None,
    scheduler: Any = None,
    others: Mapping[str, Any] | None = None,
    batches: int = 8,
    steps: int = 2048,
    max_bytes: int = 2**31,
    every: int | None = None,
) -> BlackBox:
    """Record what the steps of a run do, so that what led to trouble can be looked at and replayed.

    Of each of the last steps it keeps the loss, the learning rates, whether the step was applied, the clip factor, and
    for each tensor the norm and the largest element of the gradient and the norm of the update; and the last batches,
    by reference. Two snapshots of the run's state (parameters, buffers, optimizer, scaler, scheduler, random
    generators) are taken in turn, as often as takes 0.2% of the time of the steps. When a step is refused, something is
    not finite, or the loss goes where its noise cannot bring it, the box keeps what led to that, records as many more
    steps as it keeps batches, and writes it all to its folder. ``steadystep box FOLDER`` shows it.

    The gradients are those that the optimizer works with, before its own clipping and with the scale of a GradScaler
    divided out. The updates of an optimizer that does not measure them are exact for tensors of up to 4,096 elements,
    and estimated from as many for larger ones. The norms of parameters are measured when a snapshot is taken. Nothing
    waits for an accelerator, whose numbers are looked at a few steps later.

    Args:
        model: the model.
        optimizer: its optimizer, of any kind.
        folder: where the box is written, as safetensors and JSON; needs ``steadystep[doctor]``. None keeps it in
            memory. With several ranks, all but the first write to ``rank-1`` and so on within it.
        scaler: a GradScaler, for snapshots. Default None.
        scheduler: a scheduler, for snapshots. Default None.
        others: more objects with `state_dict` and `load_state_dict`, by name. Default None.
        batches: how many of the last batches are kept, and steps recorded after trouble. Default 8.
        steps: of how many steps records are kept. Default 2048.
        max_bytes: the most that snapshots take in memory, and snapshots and batches in the folder. Default 2 GiB.
        every: take a snapshot each so many steps. Default None, as often as is cheap.

    Returns:
        The box. Give it the batches with ``box.watch(loader)``, or each with ``box.batch(batch)`` before it is used,
        and each loss with ``box.loss(loss)``, before or after the step. ``box.recording()`` returns what it holds,
        ``box.save()`` writes it now, and ``box.close()`` ends it.

    Raises:
        TypeError: for anything but a model and an optimizer.
        ValueError: for a number that is not a whole one from 1 up.
        ImportError: for a folder, if safetensors is not installed.

    >>> import tempfile, torch, steadystep
    >>> from steadystep.recorder.folder import load
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = steadystep.AdamW(model.named_parameters(), lr=1e-3)
    >>> folder = tempfile.mkdtemp()
    >>> box = steadystep.blackbox(model, optimizer, folder)
    >>> for batch in box.watch([torch.ones(4, 2), torch.full((4, 2), float("nan")), torch.ones(4, 2)]):
    ...     loss = model(batch).square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    ...     box.loss(loss)
    >>> box.trigger.kind, box.trigger.step
    ('step refused', 1)
    >>> recording = load(folder)
    >>> recording.applied.tolist(), recording.names
    ([1.0, 0.0], ('weight', 'bias'))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"blackbox takes the model first, and got {described(model)}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"blackbox takes the optimizer second, and got {described(optimizer)}")
    for name, number in (("batches", batches), ("steps", steps), ("max_bytes", max_bytes), ("every", every)):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise ValueError(f"{name} is {number!r}: it must be a whole number from 1 up")
    if folder is not None:
        check_installed()
    optimizer = _innermost(optimizer)
    stateful = {"scaler": scaler, "scheduler": scheduler, **(others or {})}
    return BlackBox(
        model,
        optimizer,
        None if folder is None else _of_this_rank(Path(folder)),
        {name: each for name, each in stateful.items() if each is not None},
        batches,
        steps,
        max_bytes,
        every,
    )


def _innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer inside the wrappers of a trainer."""
    inner = getattr(optimizer, "optimizer", None)
    return _innermost(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer


def _of_this_rank(folder: Path) -> Path:
    """Return the folder of this rank's box."""
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    return folder / f"rank-{rank}" if rank else folder
