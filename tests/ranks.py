"""One rank of the distributed tests: `python tests/ranks.py RANK WORLD FOLDER` writes the outcome of every scenario."""

import copy
import itertools
import json
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import faults
import steadystep
from cases import CLIPPERS, ClipperCase

STEPS = 6
MAKERS: dict[str, Callable[[Any], steadystep.Optimizer]] = {
    "Adam + ClipNorm": lambda p: steadystep.Adam(p, lr=0.01, clip=1.0),
    "Adam + ClipNorm parameter": lambda p: steadystep.Adam(p, lr=0.01, clip=steadystep.ClipNorm(0.3, "parameter")),
    "LAMB": lambda p: steadystep.LAMB(p, lr=0.01, weight_decay=0.1),
    "StableAdamW": lambda p: steadystep.StableAdamW(p, lr=0.01),
    "SGD + AGC": lambda p: steadystep.SGD(p, lr=0.1, clip=steadystep.AGC(0.05)),
    "SGD + AdaGC": lambda p: steadystep.SGD(p, lr=0.1, clip=steadystep.AdaGC(warmup=2)),
    "SGD + ClipValue + ClipNorm": lambda p: steadystep.SGD(p, lr=0.1, clip=[steadystep.ClipValue(0.2), 0.5]),
    "Adam + AutoClip": lambda p: steadystep.Adam(p, lr=0.01, clip=steadystep.AutoClip(25, window=4)),
    "NAdam + ClipUpdate": lambda p: steadystep.NAdam(p, lr=0.01, clip=steadystep.ClipUpdate(0.5)),
}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def batch(step: int, rank: int | None = None) -> torch.Tensor:
    """Return the examples of a step: all of them, or one rank's half."""
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step), dtype=torch.float64) * 10.0 ** (step % 3)
    return x if rank is None else x[4 * rank : 4 * (rank + 1)]


def loss_of(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (net(x) - x.sum(1, keepdim=True)).square().mean()


def train_alone(make: Callable[[Any], steadystep.Optimizer]) -> tuple[nn.Module, steadystep.Optimizer]:
    """Run the same training in one process."""
    net = model()
    optimizer = make(net.named_parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(net, batch(step)).backward()
        optimizer.step()
    return net, optimizer


def full_tensor_of(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(full_tensor_of(a), full_tensor_of(b), rtol=1e-9, atol=1e-12)


def train(net: nn.Module, optimizer: steadystep.Optimizer, rank: int, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(net, batch(step, rank)).backward()
        optimizer.step()


def ddp(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Compare data parallel training, with gradient accumulation under no_sync, with one process."""
    net = DistributedDataParallel(model())
    optimizer = make(net.module.named_parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        first, second = batch(step, rank).split(2)
        with net.no_sync():
            (loss_of(net, first) / 2).backward()
        (loss_of(net, second) / 2).backward()
        optimizer.step()
    reference, reference_optimizer = train_alone(make)
    assert_same(net.module, reference)
    assert optimizer.ledger["norm_before"] == _close(reference_optimizer.ledger["norm_before"])


def fsdp(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Compare FSDP2, which shards every parameter, with one process: norms and sizes are those of the full tensors."""
    net = _sharded()
    optimizer = make(net.named_parameters())
    train(net, optimizer, rank, range(STEPS))
    reference, reference_optimizer = train_alone(make)
    assert_same(net, reference)
    for name in ("norm_before", "norm_after", "clipped", "applied"):
        assert optimizer.ledger[name] == _close(reference_optimizer.ledger[name]), name


def fsdp_refuses_on_every_rank(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Check that a non-finite gradient on one rank makes every rank skip the step and change nothing."""
    net = _sharded()
    optimizer = make(net.named_parameters())
    train(net, optimizer, rank, range(2))
    before = copy.deepcopy([full_tensor_of(p) for p in net.parameters()])
    loss_of(net, batch(2, rank)).backward()
    if rank == 1:
        gradient = next(iter(net.parameters())).grad
        assert isinstance(gradient, DTensor)
        gradient.to_local()[0, 0] = math.nan
    optimizer.step()
    assert optimizer.ledger["skipped_nonfinite"] == 1
    for now, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(full_tensor_of(now), old)


def fsdp_resumes(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Resume through torch.distributed.checkpoint.state_dict, whose initialising step must have no effect."""
    net = _sharded()
    optimizer = make(net.named_parameters())
    train(net, optimizer, rank, range(3))
    saved = copy.deepcopy(get_optimizer_state_dict(net, optimizer))
    resumed = make(net.named_parameters())
    set_optimizer_state_dict(net, resumed, saved)
    assert resumed.ledger["attempted"] == 3, resumed.ledger
    train(net, resumed, rank, range(3, STEPS))
    assert_same(net, train_alone(make)[0])
    assert resumed.ledger["attempted"] == STEPS


def fsdp_saved_to_files(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Resume from files, loaded into the state of a new optimizer, and from a full state dict on every rank."""
    net = _sharded()
    optimizer = make(net.named_parameters())
    train(net, optimizer, rank, range(3))
    folder = Path(sys.argv[3]) / f"checkpoint {next(_numbers)}"
    saved_net, saved = get_state_dict(net, optimizer)
    save({"net": saved_net, "optimizer": saved}, checkpoint_id=folder)
    full = StateDictOptions(full_state_dict=True)
    whole_state = copy.deepcopy(get_optimizer_state_dict(net, optimizer, options=full))
    for through_files in (True, False):
        other = _sharded()
        resumed = make(other.named_parameters())
        net_state, state = get_state_dict(other, resumed)
        load({"net": net_state, "optimizer": state}, checkpoint_id=folder)
        if through_files:
            set_state_dict(other, resumed, model_state_dict=net_state, optim_state_dict=state)
        else:
            set_model_state_dict(other, net_state)
            set_optimizer_state_dict(other, resumed, copy.deepcopy(whole_state), options=full)
        assert resumed.ledger["attempted"] == 3, resumed.ledger
        train(other, resumed, rank, range(3, STEPS))
        assert_same(other, train_alone(make)[0])
        assert resumed.ledger["attempted"] == STEPS


_numbers = itertools.count()


def initialising_step_has_no_effect(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    net = _sharded()
    optimizer = make(net.named_parameters())
    get_optimizer_state_dict(net, optimizer)  # steps once, with lr 0 and zero gradients, to create the state
    assert optimizer.ledger["attempted"] == 0
    train(net, optimizer, rank, range(STEPS))
    assert_same(net, train_alone(make)[0])


def tensor_parallel(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Compare one optimizer over DTensors sharded by rows, by columns, and replicated, with one process."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    placements = [Shard(0), Shard(1), Replicate(), Shard(0)]
    shapes = [(4, 3), (3, 4), (2, 2), (3,)]
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    ours = [distribute_tensor(t, mesh, [p]).requires_grad_() for t, p in zip(start, placements, strict=True)]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    mine, reference = make(ours), make(theirs)
    for step in range(STEPS):
        for a, b, placement in zip(ours, theirs, placements, strict=True):
            b.grad = torch.randn(b.shape, generator=generator, dtype=torch.float64) * 10.0 ** (step % 3 - 1)
            a.grad = distribute_tensor(b.grad, mesh, [placement])
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(full_tensor_of(a), b.detach(), rtol=1e-9, atol=1e-12)


def one_rank_is_enough_to_refuse(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    """Check that a NaN on one rank makes all ranks skip the step, even if the tensor is not sharded."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for hit in range(3):
        sharded = distribute_tensor(torch.ones(4, 3).double(), mesh, [Shard(0)])
        replicated = distribute_tensor(torch.ones(2, 2).double(), mesh, [Replicate()])
        params = [tensor.requires_grad_() for tensor in (sharded, replicated, torch.ones(3).double())]
        optimizer = make([(str(number), param) for number, param in enumerate(params)])
        for step in range(3):
            for param in params:
                param.grad = torch.ones_like(param) * (step + 1)
            if step == 1 and rank == 1:
                _local(params[hit].grad).view(-1)[0] = math.nan
            optimizer.step()
        assert (optimizer.ledger["applied"], optimizer.ledger["skipped_nonfinite"]) == (2, 1), hit


def _local(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def fault(rank: int, number: int) -> None:
    """Check that a fault at a random element of a random tensor on a random rank changes nothing on any rank."""
    drawn, mesh = faults.draw(number), init_device_mesh("cpu", (dist.get_world_size(),))
    placements = (Shard(0), Shard(1), Replicate(), None, Shard(0))
    shapes = ((4, 3), (3, 4), (2, 2), (3,), (5,))

    def place(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        pairs = zip(tensors, placements, strict=True)
        return [tensor if place is None else distribute_tensor(tensor, mesh, [place]) for tensor, place in pairs]

    def parameters() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(number)
        drawn_values = [torch.randn(shape, generator=generator).to(drawn.dtype) for shape in shapes]
        return [tensor.requires_grad_() for tensor in place(drawn_values)]

    def set_gradients(params: list[torch.Tensor], step: int) -> None:
        gradients = [drawn.gradient(torch.Size(shape), step, salt) for salt, shape in enumerate(shapes)]
        for param, gradient in zip(params, place([drawn.scaled(gradient) for gradient in gradients]), strict=True):
            param.grad = gradient

    def local_tensors(optimizer: steadystep.Optimizer, params: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: _local(value) for name, value in faults.snapshot(optimizer, params).items()}

    params, others = parameters(), parameters()
    optimizer, undisturbed = (drawn.optimizer.make(group, clip=drawn.clipper.make()) for group in (params, others))
    struck_tensor, struck_rank = drawn.rng.randrange(len(shapes)), drawn.rng.randrange(dist.get_world_size())
    for step in range(faults.STEPS):
        if step == drawn.step:
            set_gradients(params, faults.STEPS)
            if rank == struck_rank:
                gradient = _local(params[struck_tensor].grad)
                gradient.copy_(drawn.inject(torch.zeros(gradient.shape)))
            before, applied = local_tensors(optimizer, params), optimizer.ledger["applied"]
            optimizer.step()
            assert optimizer.ledger["applied"] == applied, str(drawn)
            now = local_tensors(optimizer, params)
            faults.assert_bitwise({name: now[name] for name in before}, before, str(drawn))
        for group, owner in ((params, optimizer), (others, undisturbed)):
            set_gradients(group, step)
            owner.step()
    faults.assert_bitwise(local_tensors(optimizer, params), local_tensors(undisturbed, others), str(drawn))
    faults.assert_accounted(optimizer.ledger, undisturbed.ledger, str(drawn))


def clips_the_same_however_sharded(case: ClipperCase, dtype: torch.dtype) -> None:
    """Check that a clipper agrees for full and for sharded gradients: to 1e-12 in float64 and to 1e-6 in float32."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    placements = (Shard(0), Shard(1), Replicate(), Shard(0))
    shapes = ((4, 3), (3, 4), (2, 2), (3,))
    generator = torch.Generator().manual_seed(0)
    full = [torch.zeros(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    sharded = [
        distribute_tensor(torch.zeros(shape, dtype=dtype), mesh, [place]).requires_grad_()
        for shape, place in zip(shapes, placements, strict=True)
    ]
    pairs = [(group, steadystep.SGD(group, lr=1.0, clip=case.make())) for group in (full, sharded)]
    for step in range(12):
        for a, b, place in zip(full, sharded, placements, strict=True):
            a.grad = torch.randn(a.shape, generator=generator).to(dtype) * 10.0 ** (step % 3 - 1)
            b.grad = distribute_tensor(a.grad, mesh, [place])
        with torch.no_grad():
            for group, optimizer in pairs:
                for param in group:
                    param.zero_()  # the step then moves by the clipped gradient itself
                optimizer.step()
        for a, b in zip(full, sharded, strict=True):
            torch.testing.assert_close(full_tensor_of(b), a.detach(), rtol=TOLERANCE[dtype], atol=1e-30)
    ours, theirs = (optimizer.ledger for _, optimizer in pairs)
    for name in ("applied", "clipped", "skipped"):
        assert ours[name] == theirs[name], name


TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
SHARDED = {f"{case} in {dtype}": (case, dtype) for case in CLIPPERS for dtype in TOLERANCE}


def mixed_meshes_are_refused(rank: int, make: Callable[[Any], steadystep.Optimizer]) -> None:
    a = distribute_tensor(torch.ones(4), init_device_mesh("cpu", (2,)), [Shard(0)]).requires_grad_()
    b = distribute_tensor(torch.ones(4), init_device_mesh("cpu", (2, 1)), [Shard(0), Replicate()]).requires_grad_()
    optimizer = make([a, b])
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    try:
        optimizer.step()
    except RuntimeError as error:
        assert "device meshes" in str(error)
    else:
        raise AssertionError("a norm over two meshes was taken")


def _sharded() -> nn.Module:
    net = model()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in net.children():
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


class _close(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float | int) and math.isclose(self, other, rel_tol=1e-9)

    __hash__ = float.__hash__


SCENARIOS = (
    ddp, fsdp, fsdp_refuses_on_every_rank, fsdp_resumes, fsdp_saved_to_files, initialising_step_has_no_effect,
    tensor_parallel, one_rank_is_enough_to_refuse, mixed_meshes_are_refused,
)  # fmt: skip


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
    outcomes = {}
    for scenario in SCENARIOS:
        for name, make in MAKERS.items():
            try:
                scenario(rank, make)
                outcomes[f"{scenario.__name__}: {name}"] = ""
            except Exception:  # noqa: BLE001 - any exception is the scenario's outcome
                outcomes[f"{scenario.__name__}: {name}"] = traceback.format_exc()
    for label, (case, dtype) in SHARDED.items():
        try:
            clips_the_same_however_sharded(case, dtype)
            outcomes[label] = ""
        except Exception:  # noqa: BLE001
            outcomes[label] = traceback.format_exc()
    for number in faults.DISTRIBUTED:
        try:
            fault(rank, number)
            outcomes[f"fault {number}"] = ""
        except Exception:  # noqa: BLE001
            outcomes[f"fault {number}"] = traceback.format_exc()
    (folder / f"{rank}.json").write_text(json.dumps(outcomes))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
