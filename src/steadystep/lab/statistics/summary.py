"""The statistics of a study, from which the tables and figures of a report are made."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95% interval, which is nan if there are too few seeds for one."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmSummary:
    """The statistics of one arm at one budget. Accuracies are fractions of 1."""

    arm: str
    budget: int
    lr: float
    threshold: float | None  # the clipper's threshold; None for an unclipped arm
    edge: bool  # whether the chosen lr is the lowest or highest of the search: a wider search may do better
    runs: int
    diverged: int
    divergence_rate: Estimate  # Wilson interval
    test_accuracy: Estimate  # over finished runs; t interval
    test_accuracy_bootstrap: Estimate  # mean over finished runs; BCa bootstrap interval
    test_accuracy_iqm: Estimate  # interquartile mean, bootstrap interval
    val_accuracy: Estimate  # over finished runs; t interval
    test_loss: Estimate  # in nats, over finished runs; t interval
    test_also: Mapping[str, Estimate]  # further test metrics by name, such as top-5; t intervals
    clip_rate: float  # mean over all runs, including diverged ones
    norm_median: float  # median over runs of each run's median norm before clipping
    # The following are over finished runs, or over all runs if none finished. Times are over the runs among them that
    # were trained alone, if there are any.
    timed_alone: int  # number of runs trained alone; 0: the times are shares of batches that were trained together
    step_ms: float  # median over runs
    optimizer_ms: float  # median over runs
    seconds: float  # mean wall time of a run
    steps: int  # of one run
    flops: float  # of one run
    tuning_runs: int
    tuning_diverged: int


@dataclass(frozen=True)
class Convergence:
    """The epochs to convergence of one arm under one definition."""

    arm: str
    definition: str  # its name, see `DEFINITIONS`
    epochs: float | None  # Kaplan-Meier median, None if fewer than half converged; or the budget to target, or None
    reached: int  # number of runs that converged; for a budget: at that one, or at the largest if None
    runs: int
    log_rank_p: float | None  # against the first arm; None for a budget and for the first arm itself


@dataclass(frozen=True)
class Verdict:
    """The comparison of two arms on paired seeds at the headline budget. With fewer than 2 pairs, p values are nan."""

    arm: str
    against: str
    difference: Estimate  # arm - against, fraction of 1; paired t interval
    improvement: float  # probability of improvement: fraction of pairs won, where ties count half
    p_difference: float  # two-sided paired t, Holm-adjusted
    p_equivalence: float  # larger p of the two one-sided tests at the margin, Holm-adjusted
    margin: float
    pairs: int  # seeds that both arms ran and at least one finished; diverged runs count with chance accuracy
    verdict: str  # "better", "worse", "equivalent", "undecided"
    seeds: int = 0  # of the look at which it was reached
    seeds_needed: int | None = None  # about how many would decide an undecided pair, if it stays as it is


@dataclass(frozen=True)
class Summary:
    """All statistics in a report."""

    arms: tuple[ArmSummary, ...]  # every arm at every budget, in increasing order of budgets
    convergence: tuple[Convergence, ...]
    verdicts: tuple[Verdict, ...]
