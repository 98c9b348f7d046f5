"""Whatever is done to an optimizer's tensors and groups between steps: the next step is torch's, or it is refused.

Three optimizers with equal parameters go through the same operations: the compiled one, the eager one, and torch's
where it has the same definition. The eager result is right by definition; torch says what is right where it can.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from cases import OPTIMIZERS, OptimizerCase
from memory.agreement import BETWEEN_BACKENDS, WITH_TORCH, assert_agree, assert_refused_well, assert_same_bits
from memory.gradients import GRADIENTS, OWN, PLAIN, UNCHANGED, set_gradient
from memory.on_copies import ON_COPIES
from memory.on_gradients import ON_GRADIENTS
from memory.on_groups import ON_GROUPS
from memory.on_parameters import ON_PARAMETERS
from memory.on_state import ON_STATE
from memory.operations import NothingToDo, Operation
from memory.sides import MOST, Setting, Side, sides_of
from steadystep import AGC, ClipNorm, ClipUpdate, ClipValue

CLIPS = (None, None, None, ClipNorm(1.0), ClipValue(0.3), AGC(0.05), ClipUpdate(0.5))

numbers = st.integers(0, 7)
kinds_of_gradients = st.lists(st.sampled_from([PLAIN] * 8 + list(GRADIENTS)), min_size=MOST, max_size=MOST)


class Surgery(RuleBasedStateMachine):
    """The sides, and what has been done to them since they were made."""

    setting: Setting
    sides: list[Side]
    done: list[Operation]
    dtypes: set[torch.dtype]  # of parameters and state in these steps

    @initialize(
        case=st.sampled_from(OPTIMIZERS),
        dtype=st.sampled_from([torch.float32] * 4 + [torch.float64, torch.bfloat16]),
        clip=st.sampled_from(CLIPS),
        named=st.booleans(),
    )
    def start(self, case: OptimizerCase, dtype: torch.dtype, clip: Any, named: bool) -> None:
        self.setting = Setting(case, dtype, clip, named)
        self.restart()

    @rule(operation=st.sampled_from(ON_PARAMETERS), which=numbers, seed=numbers)
    def change_parameters(self, operation: Operation, which: int, seed: int) -> None:
        param = which % len(self.sides[0].params)
        if not (operation.doubtful and self.only_torch_has_state(param)):
            self.operate(operation, param, seed)

    @rule(operation=st.sampled_from(ON_STATE), which=numbers, seed=numbers)
    def change_state(self, operation: Operation, which: int, seed: int) -> None:
        # Sides make their state at different times, and torch's SGD makes none without momentum.
        everywhere = [n for n in range(len(self.sides[0].params)) if all(side.has_state(n) for side in self.sides)]
        if everywhere:
            self.operate(operation, everywhere[which % len(everywhere)], seed)

    @rule(operation=st.sampled_from(ON_GROUPS), which=numbers, seed=numbers)
    def change_groups(self, operation: Operation, which: int, seed: int) -> None:
        self.operate(operation, which, seed)

    @rule(operation=st.sampled_from(ON_COPIES), which=numbers, seed=numbers)
    def continue_with_a_copy(self, operation: Operation, which: int, seed: int) -> None:
        everyone = range(len(self.sides[0].params))
        if not (operation.doubtful and any(map(self.only_torch_has_state, everyone))):
            self.operate(operation, which, seed)

    @rule(operation=st.sampled_from(ON_GRADIENTS), which=numbers, seed=numbers)
    def change_gradients(self, operation: Operation, which: int, seed: int) -> None:
        self.operate(operation, which, seed)

    @rule(count=st.integers(1, 4), seed=numbers)
    def take_steps(self, count: int, seed: int) -> None:
        for step in range(count):
            self.step([PLAIN] * MOST, 1000 * seed + 100 * step)

    @rule(kinds=kinds_of_gradients, seed=numbers)
    def take_a_step_with_other_gradients(self, kinds: list[str], seed: int) -> None:
        self.step(kinds, 1000 * seed)

    def only_torch_has_state(self, param: int) -> bool:
        """Return whether a parameter has state on torch's side alone, where it can have another shape by the next step.

        torch's Adagrad makes its state before the first step.
        """
        return self.setting.case.name == "Adagrad" and not self.sides[0].has_state(param)

    def restart(self) -> None:
        """Make new sides, with equal parameters."""
        self.sides, self.done, self.dtypes = sides_of(self.setting), [], set()

    def leave_torch_out(self) -> None:
        """Go on without the side of torch, if there is one."""
        del self.sides[2:]

    def operate(self, operation: Operation, which: int, seed: int) -> None:
        """Do the same to all sides."""
        if operation.no_torch:
            self.leave_torch_out()
        errors = [error_of(partial(operation.make, side, which, seed)) for side in self.sides]
        idle = [isinstance(error, NothingToDo) for error in errors]
        if any(idle):
            assert all(idle), f"the sides differ: {errors}"
            return
        self.done.append(operation)
        ours, theirs = errors[:2], errors[2:]
        if any(ours):
            # What is refused here when it is loaded, torch refuses in the step.
            self.set_gradients([PLAIN] * MOST, seed)
            self.judge([*ours, *(theirs and [error_of(self.sides[2].optimizer.step)])])
            self.restart()
        elif any(theirs):
            raise AssertionError(f"only torch refused: {theirs[0]!r}") from theirs[0]
        elif operation.at_once or operation.keeps_gradients:
            self.step([UNCHANGED if operation.keeps_gradients else PLAIN] * MOST, seed)

    def step_of(self, side: Side, seed: int) -> Exception | None:
        """Take a step on one side, and return what it raises; moments in bfloat16 are rounded alike on all sides."""
        torch.manual_seed(seed)
        return error_of(side.optimizer.step)

    def set_gradients(self, kinds: Sequence[str], seed: int) -> None:
        """Give the parameters of all sides the same gradients."""
        for side in self.sides:
            for number, (param, kind) in enumerate(zip(side.params, kinds, strict=False)):
                set_gradient(param, kind, seed + number, for_torch=side.kind == "torch")

    def step(self, kinds: Sequence[str], seed: int) -> None:
        """Take a step on all sides, and compare what they made of it."""
        self.dtypes |= self.sides[1].dtypes()
        if OWN in kinds and any(one.shares for one in self.done):
            self.leave_torch_out()  # its gradients are copies, which the update of another parameter does not change
        self.set_gradients(kinds, seed)
        before = [side.copies() for side in self.sides[:2]]
        errors = [self.step_of(side, seed) for side in self.sides]
        if self.judge(errors):
            for side, copies in zip(self.sides, before, strict=False):
                assert_same_bits(side.copies(), copies, f"a refused step of the {side.kind} side changed")
            self.restart()
        else:
            compiled, eager, *torchs = self.sides
            assert_agree(compiled, eager, max(BETWEEN_BACKENDS[dtype] for dtype in self.dtypes))
            for side in torchs:
                assert_agree(eager, side, WITH_TORCH[self.setting.dtype])
            self.forget_shared_gradients(kinds)

    def forget_shared_gradients(self, kinds: Sequence[str]) -> None:
        """Discard gradients that are the parameters themselves, which for torch were copies."""
        for side in self.sides:
            for param, kind in zip(side.params, kinds, strict=False):
                if kind == OWN:
                    param.grad = None

    def judge(self, errors: Sequence[Exception | None]) -> bool:
        """Return whether the step was refused, and assert that the sides agree that it had to be."""
        compiled, eager, *theirs = errors
        assert (compiled is None) == (eager is None), f"compiled: {compiled!r}, eager: {eager!r}"
        refused = eager is not None
        for error in filter(None, (compiled, eager)):
            assert_refused_well(error)
        if theirs:
            allowed = any(one.only_torch_steps if refused else one.only_torch_refuses for one in self.done)
            assert refused == (theirs[0] is not None) or allowed, f"eager: {eager!r}, torch: {theirs[0]!r}"
        else:
            assert not refused or any(one.doubtful or one.refused for one in self.done), f"refused: {eager!r}"
        assert refused or not any(one.refused for one in self.done), "not refused"
        if theirs and theirs[0] is not None:
            self.leave_torch_out()  # some of its parameters may have changed
        return refused


def error_of(action: Callable[[], object]) -> Exception | None:
    """Return what an action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever torch raises is a refusal
        return error
    return None


FAST = settings(max_examples=100, stateful_step_count=12, derandomize=True, deadline=None)
LONG = settings(max_examples=2000, stateful_step_count=12, deadline=None)


def test_whatever_is_done_between_steps() -> None:
    run_state_machine_as_test(Surgery, settings=FAST)


@pytest.mark.slow
def test_whatever_is_done_between_many_steps() -> None:
    run_state_machine_as_test(Surgery, settings=LONG)
