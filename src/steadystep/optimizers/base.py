"""The base class of every optimizer, with its options. The step, checkpoints and rules have their own files."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, as_clippers, shown_clip
from steadystep.gradients.zero_redundancy import refuse_inside_zero
from steadystep.kernels.dispatch import check_backend
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.arguments import (
    as_plain_value,
    base_lr,
    check_base_lr,
    check_choices,
    check_decay,
    check_group,
    check_numbers,
    check_params,
    refuse_unknown_arguments,
)
from steadystep.optimizers.checkpoint import Checkpointed
from steadystep.optimizers.planned_step import PlannedStep
from steadystep.rule import Range, Rule
from steadystep.step.accounted import Accounted
from steadystep.step.guarded_step import Nonfinite, Policy, is_unguarded
from steadystep.step.state import as_printed, ledger_owner, read_ledger
from steadystep.step.watch import StepWatch

Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]


class Optimizer(PlannedStep, Checkpointed, Accounted):
    """A torch.optim.Optimizer whose step measures, clips, guards and counts.

    A subclass gives `hyperparameters`, the range of each; `variants`, the names of its definitions, the default first;
    and `rule`, the equation that a parameter group follows.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        defaults: the hyperparameters of groups that do not set their own.
        clip: None, a maximal global norm, a clipper, or a list of these that are applied in order. Default None.
        nonfinite: what to do about a gradient that is not finite: ``"skip"`` the step, ``"raise"`` an error that names
            the tensor, or ``"propagate"`` it. Default ``"skip"``.
        max_consecutive_skips: refused steps in a row before a TooManySkipsError. Default 25.
        rounding: of parameters in half precision: ``"nearest"``, ``"stochastic"`` (bfloat16) or ``"kahan"``. Default
            ``"nearest"``.
        variant: which definition of the optimizer. Default None, the first of `variants`.
        backend: ``"numba"``, ``"triton"`` or ``"eager"``. Default None, for each tensor the fastest that supports it.
        maximize: climb instead of descend. Default False.
        state_dtype: ``torch.bfloat16`` stores the moments of parameters that are updated in float32 in half the memory,
            rounded up or down with the probability that makes them right on average. Default None: in the precision of
            the update, float32 or float64.
    """

    hyperparameters: ClassVar[Mapping[str, Range]]
    variants: ClassVar[tuple[str, ...]]
    _given_defaults: ClassVar[Mapping[str, Any]]  # those of the constructor

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        parameters = inspect.signature(cls.__init__).parameters.values()
        cls._given_defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
        if "__init__" in vars(cls):
            cls.__init__ = refuse_unknown_arguments(cls.__init__)

    def __init__(
        self,
        params: Params,
        defaults: dict[str, Any],
        clip: Clip = None,
        nonfinite: Nonfinite = "skip",
        max_consecutive_skips: int = 25,
        rounding: Rounding = "nearest",
        variant: str | None = None,
        backend: str | None = None,
        maximize: bool = False,
        state_dtype: StateDtype = None,
    ) -> None:
        self.clip = clip
        self.policy = Policy(nonfinite, max_consecutive_skips)
        self.backend = backend
        check_backend(backend)
        self._watch = StepWatch()
        self._measured = self._owner = None
        if not is_unguarded(self._clippers, self.policy, None):
            refuse_inside_zero(type(self).__name__)
        options = {
            "maximize": maximize,
            "variant": variant or self.variants[0],
            "rounding": rounding,
            "state_dtype": state_dtype,
        }
        known = {name: as_plain_value(value) for name, value in {**defaults, **options}.items()}
        # As in torch.optim, before `params` is read. What options must satisfy together is checked for each group.
        check_group(type(self).__name__, known, self.variants, self.hyperparameters, self._given_defaults)
        check_params(type(self).__name__, params)
        super().__init__(params, known)

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        """Return the update rule selected by the options of a parameter group."""
        raise NotImplementedError(f"{cls.__name__} has no rule")

    @property
    def clip(self) -> tuple[Clipper, ...]:
        """The clippers, in the order in which they are applied. Set it to anything that the argument `clip` accepts."""
        return self._clippers

    @clip.setter
    def clip(self, clip: Clip) -> None:
        self._clippers = as_clippers(clip)
        self._plan = None

    @property
    def ledger(self) -> dict[str, Any]:
        """The counts and norms of the steps so far, as a plain dict of Python numbers; reading it waits for the device.

        ``attempted``, ``applied``, ``skipped`` and ``consecutive_skips`` count steps. A step is skipped for a gradient
        that is not finite (``skipped_nonfinite``), whose square overflows (``skipped_overflow``) or that a
        `SkipOutlier` refuses (``skipped_outlier``), or for a loss that is not finite (``skipped_loss``).
        ``first_skip`` and ``last_skip`` are the first and the last skipped step, each ``{"step": number from 1 on,
        "reason": text}``, or None. ``faults`` counts for each tensor by name for how many of the skipped steps its
        gradient was at fault, the most frequent first. ``clipped`` counts the applied steps whose gradient a clipper
        changed, and ``clip_rate`` is their share of the applied ones. ``norm_before`` and ``norm_after`` are the last
        step's global gradient norms around clipping, ``scale`` is their ratio, ``running_norm_*`` are their exponential
        averages over applied steps, and ``norms`` are the last norms of all tensors by name.

        ``update_norms`` are the Euclidean norms of what the last applied step added to each tensor, of this rank's
        shard where a tensor is sharded. ``nonfinite_updates`` counts steps with sound gradients whose update wrote
        something that is not finite. ``zero_gradients`` counts steps whose gradients are all 0 after others that are
        not, and ``already_clipped`` those whose norm, or largest element, is at a bound that others have reached too.
        """
        self._owner, plan = ledger_owner(self.param_groups, self._owner), self._plan
        updates, flags = (plan.update_norms(), plan.flags) if plan else ({}, ())
        return read_ledger(self._owner or {}, self.param_groups, self._measured, updates, flags)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; its options are checked like those of the constructor."""
        if isinstance(param_group, dict):  # torch refuses anything else
            param_group.update({name: as_plain_value(param_group[name]) for name in param_group.keys() - {"params"}})
            self._validate({**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._plan = None
        # Schedulers overwrite lr; some rules need its first value, which could not be recovered later.
        group = self.param_groups[-1]
        group.setdefault("base_lr", base_lr(group))

    def _check_options(self) -> None:
        for group in self.param_groups:  # whose options may have been set since they were added
            check_choices(type(self).__name__, group, self.variants)
            check_numbers(type(self).__name__, group, self.hyperparameters)

    def _validate(self, group: Mapping[str, Any]) -> None:
        check_group(type(self).__name__, group, self.variants, self.hyperparameters, self._given_defaults)
        rule = self.rule(group)
        check_decay(type(self).__name__, group, rule.decay)
        if rule.needs_base_lr:
            check_base_lr(type(self).__name__, group)

    def _forget_steps(self) -> None:
        self._measured = self._plan = self._owner = None

    def __getstate__(self) -> dict[str, Any]:
        added = {"_clippers": self._clippers, "policy": self.policy, "backend": self.backend}
        return {**super().__getstate__(), **added}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.defaults.pop("differentiable", None)  # torch adds it to those of every optimizer
        for options in (self.defaults, *self.param_groups):  # pickled before there was such an option
            options.setdefault("state_dtype", None)
        self._watch = StepWatch()
        self._forget_steps()

    def __repr__(self) -> str:
        guard = {"clip": shown_clip(self._clippers), "nonfinite": repr(self.policy.nonfinite), "backend": self.backend}
        with as_printed(self.param_groups, guard):
            return super().__repr__()
