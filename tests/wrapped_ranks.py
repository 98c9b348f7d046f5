"""One rank under torch's own wrappers: `python tests/wrapped_ranks.py RANK WORLD FOLDER` writes every outcome."""

import copy
import json
import math
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

import steadystep
from ranks import STEPS, assert_same, batch, full_tensor_of, loss_of, model
from steadystep.step.guarded_step import Policy

Make = Callable[[Any], Any]
MEASURE: dict[str, Make] = {
    "clip": lambda p: steadystep.Adam(p, lr=0.01, clip=1.0, nonfinite="propagate"),
    "skip": lambda p: steadystep.Adam(p, lr=0.01),
    "sums over tensors": lambda p: steadystep.LAMB(p, lr=0.01, nonfinite="propagate"),
    "guard": lambda p: steadystep.guard(torch.optim.Adam(p, lr=0.01), clip=1.0),
}
MEASURE_NOTHING: dict[str, Make] = {
    "step": lambda p: steadystep.Adam(p, lr=0.01, nonfinite="propagate"),
    "guard": lambda p: steadystep.guard(torch.optim.Adam(p, lr=0.01), nonfinite="propagate"),
}


def fsdp1(use_orig_params: bool) -> nn.Module:
    cpu = torch.device("cpu")
    return FullyShardedDataParallel(model(), device_id=cpu, use_orig_params=use_orig_params)


def backward(net: nn.Module, step: int, rank: int | None, spoil: bool = False) -> None:
    net.zero_grad()
    loss = loss_of(net, batch(step, rank))
    (loss * math.nan if spoil else loss).backward()


def train(net: nn.Module, optimizer: Any, rank: int | None, steps: range = range(STEPS)) -> None:
    for step in steps:
        backward(net, step, rank)
        optimizer.step()


def copies(net: nn.Module) -> list[torch.Tensor]:
    return [full_tensor_of(parameter).clone() for parameter in net.parameters()]


def assert_refused(call: Callable[[], Any], *words: str, error: type[Exception] = RuntimeError) -> None:
    try:
        call()
    except error as refusal:
        for word in words:
            assert word in str(refusal), str(refusal)
    else:
        raise AssertionError("nothing was refused")


def fsdp1_is_refused(rank: int, use_orig_params: bool) -> None:
    """Check that all ranks refuse what each would measure by itself, also a rank without a shard of the parameters."""
    for make in MEASURE.values():
        net = fsdp1(use_orig_params)
        optimizer = make(net.parameters())
        backward(net, 0, rank)
        before = copies(net)
        assert_refused(optimizer.step, "FSDP1", "fully_shard")
        assert_refused(lambda net=net: steadystep.clip_gradients(net.parameters(), 1.0), "clip_gradients", "FSDP1")
        assert all(map(torch.equal, copies(net), before))
    net = fsdp1(True)
    backward(net, 0, rank)
    last = list(net.parameters())[-1]  # one number, of which only one rank has a gradient
    assert (last.grad is None) == (rank == 0)
    assert_refused(steadystep.Adam([last]).step, "FSDP1")


def fsdp1_follows_torch_where_nothing_is_measured(rank: int, use_orig_params: bool) -> None:
    """Check that an elementwise step is torch's, until it has to measure: by a policy, a clip or a GradScaler."""
    theirs = fsdp1(use_orig_params)
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01), rank)
    for make in MEASURE_NOTHING.values():
        ours = fsdp1(use_orig_params)
        optimizer = make(ours.parameters())
        train(ours, optimizer, rank)
        assert_same(ours, theirs)
        assert optimizer.ledger["applied"] == STEPS
        backward(ours, 0, rank)
        scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
        scaler.scale(torch.ones(()))
        assert_refused(lambda scaler=scaler, optimizer=optimizer: scaler.step(optimizer), "FSDP1")
    for option in ("undo", "report_updates"):
        ours = fsdp1(use_orig_params)
        inner = torch.optim.Adam(ours.parameters())
        optimizer = steadystep.guard(inner, nonfinite="propagate", **{option: True})  # type: ignore[arg-type]
        backward(ours, 0, rank)
        assert_refused(optimizer.step, "FSDP1")
    ours = fsdp1(use_orig_params)
    optimizer = MEASURE_NOTHING["step"](ours.parameters())
    train(ours, optimizer, rank, range(2))
    backward(ours, 2, rank)
    optimizer.policy = Policy("skip")
    assert_refused(optimizer.step, "FSDP1")
    optimizer.policy, optimizer.clip = Policy("propagate"), 1.0
    assert_refused(optimizer.step, "FSDP1")


def zero_refuses_what_measures_inside(rank: int) -> None:
    """Check that the optimizer inside is refused when it is made, unless it measures nothing."""
    for name in ("clip", "skip", "guard"):
        make = MEASURE[name]
        assert_refused(
            lambda make=make: ZeroRedundancyOptimizer(model().parameters(), make),  # type: ignore[arg-type]
            "ZeroRedundancyOptimizer(params, torch.optim.Adam",
            "fully_shard",
        )
    alone = [dist.new_group([number]) for number in range(dist.get_world_size())][rank]
    ZeroRedundancyOptimizer(model().parameters(), steadystep.Adam, clip=1.0, process_group=alone)
    nets = [DistributedDataParallel(model()) for _ in range(2)]
    kinds = [(steadystep.Adam, {"nonfinite": "propagate"}), (torch.optim.Adam, {})]
    for net, (kind, options) in zip(nets, kinds, strict=True):
        train(net, ZeroRedundancyOptimizer(net.parameters(), kind, lr=0.01, **options), rank)
    assert_same(*nets)


def zero_refuses_to_be_guarded_where_that_is_wrong(rank: int) -> None:
    zero = ZeroRedundancyOptimizer(model().parameters(), steadystep.Adam, nonfinite="propagate")
    assert_refused(lambda: steadystep.guard(zero, clip=1.0), "ledger", error=TypeError)
    overlapped = ZeroRedundancyOptimizer(model().parameters(), torch.optim.Adam, overlap_with_ddp=True)
    assert_refused(lambda: steadystep.guard(overlapped, clip=1.0), "overlap_with_ddp", error=TypeError)


class Repeated(torch.optim.SGD):
    """SGD whose step can be repeated."""

    def step(self, closure: Any = None, times: int = 1) -> None:  # type: ignore[override]
        for _ in range(times):
            super().step()


def zero(net: nn.Module, kind: Any = torch.optim.Adam, clip: Any = 1.0) -> Any:
    return steadystep.guard(ZeroRedundancyOptimizer(net.parameters(), kind, lr=0.01), clip=clip)


def guarded_zero_agrees_with_one_process(rank: int) -> None:
    """Compare the guard around a ZeroRedundancyOptimizer with one process; a NaN on one rank skips on all."""
    ours, theirs = DistributedDataParallel(model()), model()
    mine = zero(ours, clip=steadystep.AutoClip(25, window=4))
    reference = steadystep.guard(torch.optim.Adam(theirs.parameters(), lr=0.01), clip=steadystep.AutoClip(25, window=4))
    for step in range(STEPS):
        backward(ours, step, rank, spoil=step == 3 and rank == 1)
        backward(theirs, step, None, spoil=step == 3)
        mine.step()
        reference.step()
        assert_same(ours, theirs)
    for name in ("attempted", "applied", "skipped_nonfinite", "clipped"):
        assert mine.ledger[name] == reference.ledger[name], name  # type: ignore[attr-defined]
    assert math.isclose(mine.ledger["norm_before"], reference.ledger["norm_before"])  # type: ignore[attr-defined]
    assert (mine.ledger["applied"], mine.ledger["skipped_nonfinite"]) == (STEPS - 1, 1)


def guarded_zero_hands_on_arguments(rank: int) -> None:
    ours, theirs = DistributedDataParallel(model()), model()
    mine, reference = zero(ours, Repeated), steadystep.guard(Repeated(theirs.parameters(), lr=0.01), clip=1.0)
    for step in range(STEPS):
        backward(ours, step, rank)
        backward(theirs, step, None)
        for optimizer in (mine, reference):
            optimizer.step(times=3)
    assert_same(ours, theirs)
    unrepeated = model()
    train(unrepeated, steadystep.guard(Repeated(unrepeated.parameters(), lr=0.01), clip=1.0), None)
    assert not torch.equal(next(unrepeated.parameters()), next(theirs.parameters()))


def guarded_zero_resumes(rank: int) -> None:
    """Check that the consolidated state of a guarded ZeroRedundancyOptimizer continues as if uninterrupted."""
    net = DistributedDataParallel(model())
    optimizer = zero(net, clip=steadystep.AutoClip(25, window=4))
    train(net, optimizer, rank, range(3))
    optimizer.consolidate_state_dict(to=0)
    saved = [copy.deepcopy((net.state_dict(), optimizer.state_dict())) if rank == 0 else None]
    dist.broadcast_object_list(saved)
    assert saved[0] is not None
    train(net, optimizer, rank, range(3, STEPS))
    other = DistributedDataParallel(model())
    resumed = zero(other, clip=steadystep.AutoClip(25, window=4))
    other.load_state_dict(saved[0][0])
    resumed.load_state_dict(saved[0][1])
    train(other, resumed, rank, range(3, STEPS))
    assert_same(other, net)
    assert resumed.ledger == optimizer.ledger


class Overflowing(torch.optim.SGD):
    """SGD that writes an infinite number to its state, on one rank, in its third step."""

    taken = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.taken += 1
        infinite = self.taken == 3 and dist.get_rank() == 1
        self.state[self.param_groups[0]["params"][0]]["seen"] = torch.tensor(math.inf if infinite else 0.0)


def guarded_zero_undoes_on_every_rank(rank: int) -> None:
    """Check that what one rank's optimizer has written to its own state is judged alike on all ranks."""
    for nonfinite in ("skip", "raise"):
        net = DistributedDataParallel(model())
        inside = ZeroRedundancyOptimizer(net.parameters(), Overflowing, lr=0.01)
        optimizer: Any = steadystep.guard(inside, clip=1.0, nonfinite=nonfinite, undo=True)  # type: ignore[arg-type]
        train(net, optimizer, rank, range(2))
        before = copies(net)
        backward(net, 2, rank)
        if nonfinite == "raise":
            assert_refused(optimizer.step, "not finite", error=steadystep.NonFiniteUpdateError)
        else:
            optimizer.step()
            assert optimizer.ledger["skipped"] == 1
        assert all(map(torch.equal, copies(net), before))


def sharded() -> nn.Module:
    net = model()
    fully_shard(net, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    return net


SCALED: dict[str, tuple[Callable[[], nn.Module], Make]] = {
    "Adam": (model, lambda net: steadystep.Adam(net.parameters(), lr=0.01, clip=1.0)),
    "guard": (model, lambda net: steadystep.guard(torch.optim.Adam(net.parameters(), lr=0.01), clip=1.0)),
    "guard of fused": (
        model,
        lambda net: steadystep.guard(torch.optim.Adam(net.parameters(), lr=0.01, fused=True), clip=1.0),
    ),
    "Adam on DTensors": (sharded, lambda net: steadystep.Adam(net.parameters(), lr=0.01, clip=1.0)),
    "guard on DTensors": (
        sharded,
        lambda net: steadystep.guard(torch.optim.Adam(net.parameters(), lr=0.01), clip=1.0),
    ),
    "guard of a ZeroRedundancyOptimizer": (lambda: DistributedDataParallel(model()), zero),
    "unmeasured FSDP1": (lambda: fsdp1(False), lambda net: MEASURE_NOTHING["step"](net.parameters())),
}


def one_verdict_under_a_sharded_grad_scaler(rank: int, name: str, unscale_first: bool) -> None:
    """Check that an infinite gradient on one rank skips the step on both, which then go on with the same scale."""
    make_net, make = SCALED[name]
    net, unscaled = make_net(), make_net()
    optimizer, reference = make(net), make(unscaled)
    scaler = ShardedGradScaler("cpu", init_scale=1024.0)
    for step in range(STEPS):
        before = copies(net)
        net.zero_grad()
        loss = scaler.scale(loss_of(net, batch(step, rank)))
        loss.backward()
        if step == 2 and rank == 1:
            gradient = next(parameter.grad for parameter in net.parameters() if parameter.grad is not None)
            getattr(gradient, "_local_tensor", gradient).view(-1)[0] = math.inf
        if unscale_first:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == (1024.0 if step < 2 else 512.0)
        moved = not all(map(torch.equal, copies(net), before))
        assert moved == (step != 2)
        if step != 2:
            backward(unscaled, step, rank)
            reference.step()
    assert_same(net, unscaled)
    assert optimizer.ledger["applied"] == STEPS - 1, optimizer.ledger
    assert optimizer._step_supports_amp_scaling is True


def one_verdict_about_the_loss(rank: int) -> None:
    """Check that all ranks refuse a step if the loss of any of them is not finite, though all gradients are."""
    for make in (MEASURE["skip"], MEASURE["guard"]):
        net = DistributedDataParallel(model())
        optimizer = make(net.parameters())
        for step, bad_rank in enumerate((None, 0, 1, None)):
            backward(net, step, rank)
            optimizer.step(loss=-math.inf if rank == bad_rank else torch.tensor(0.5))
        ledger = optimizer.ledger
        assert (ledger["applied"], ledger["skipped_loss"]) == (2, 2), ledger


SCENARIOS: dict[str, Callable[[int], None]] = {
    **{
        f"{scenario.__name__}, use_orig_params={flag}": lambda rank, scenario=scenario, flag=flag: scenario(rank, flag)
        for scenario in (fsdp1_is_refused, fsdp1_follows_torch_where_nothing_is_measured)
        for flag in (False, True)
    },
    **{
        scenario.__name__: scenario
        for scenario in (
            zero_refuses_what_measures_inside, zero_refuses_to_be_guarded_where_that_is_wrong,
            guarded_zero_agrees_with_one_process, guarded_zero_hands_on_arguments, guarded_zero_resumes,
            guarded_zero_undoes_on_every_rank, one_verdict_about_the_loss,
        )
    },
    **{
        f"ShardedGradScaler, {name}{', unscaled first' * first}": lambda rank, name=name, first=first: (
            one_verdict_under_a_sharded_grad_scaler(rank, name, first)
        )
        for name in SCALED
        for first in (False, True)
    },
}  # fmt: skip


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", meeting, timedelta(seconds=30), world_size=world, rank=rank)
    outcomes = dict.fromkeys(SCENARIOS, "not run: an earlier scenario failed")
    for name, scenario in SCENARIOS.items():
        try:
            scenario(rank)
            outcomes[name] = ""
        except Exception:  # noqa: BLE001 - any exception is the scenario's outcome
            outcomes[name] = traceback.format_exc()
            break  # the ranks no longer wait for each other in the same places
    (folder / f"{rank}.json").write_text(json.dumps(outcomes))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
