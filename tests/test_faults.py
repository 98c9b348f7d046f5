"""Faults injected into real training: a skipped step changes nothing but the ledger, whatever the gradient contains.

faults.py draws 1,000 cases; those with two ranks are in tests/distributed.
"""

import copy

import pytest
import torch

from faults import CASES, DISTRIBUTED, OVERFLOW, SCALE, STEPS, Fault, assert_accounted, assert_bitwise, draw, snapshot

SHAPES = ((4, 3), (5,), (2, 2, 2), ())
CHUNK = 85
LOCAL = [number for number in range(CASES) if number not in DISTRIBUTED]


def parameters(fault: Fault) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(fault.number)
    return [torch.randn(shape, generator=generator).to(fault.dtype).requires_grad_() for shape in SHAPES]


def set_gradients(fault: Fault, params: list[torch.Tensor], step: int) -> None:
    for salt, param in enumerate(params):
        param.grad = fault.scaled(fault.gradient(param.shape, step, salt))


def scaler_of(fault: Fault) -> torch.amp.GradScaler | None:
    if fault.kind != OVERFLOW:
        return None
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=10**6)
    scaler.scale(torch.zeros(1))  # initialises the scaler
    return scaler


def step_with(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None) -> None:
    if scaler is None:
        optimizer.step()
        return
    scaler.step(optimizer)
    scaler.update(SCALE)  # both trainings continue with the same scale


@pytest.mark.parametrize("first", LOCAL[::CHUNK])
def test_a_fault_at_a_random_position_changes_only_the_ledger(first: int) -> None:
    for number in range(first, min(first + CHUNK, DISTRIBUTED.start)):
        fault = draw(number)
        params = parameters(fault)
        optimizer = fault.optimizer.make(params, clip=fault.clipper.make())
        undisturbed = copy.deepcopy(optimizer)
        others: list[torch.Tensor] = undisturbed.param_groups[0]["params"]
        scalers = scaler_of(fault), scaler_of(fault)
        for step in range(STEPS):
            if step == fault.step:
                set_gradients(fault, params, STEPS)
                salt = fault.rng.randrange(len(params))
                params[salt].grad = fault.inject(fault.gradient(params[salt].shape, STEPS, salt))
                before, applied = snapshot(optimizer, params), optimizer.ledger["applied"]
                step_with(optimizer, scalers[0])
                assert optimizer.ledger["applied"] == applied, str(fault)
                now = snapshot(optimizer, params)
                # State that a first step created is not compared here, but by the comparison at the end of training.
                assert_bitwise({name: now[name] for name in before}, before, str(fault))
            for group, stepped, scaler in ((params, optimizer, scalers[0]), (others, undisturbed, scalers[1])):
                set_gradients(fault, group, step)
                step_with(stepped, scaler)
        assert_bitwise(snapshot(optimizer, params), snapshot(undisturbed, others), str(fault))
        assert_accounted(optimizer.ledger, undisturbed.ledger, str(fault))


def test_every_optimizer_clipper_and_fault_is_drawn() -> None:
    faults = [draw(number) for number in range(CASES)]
    for cases in (faults, [faults[number] for number in DISTRIBUTED]):
        for name in ("optimizer", "clipper", "kind", "step"):
            values = {str(getattr(fault, name)) for fault in cases}
            assert len(values) == len({str(getattr(fault, name)) for fault in faults}), name
