"""The statistics of a study, computed from its records: what a report's tables and figures are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmSummary:
    """One arm at one budget. Accuracies are fractions of 1."""

    arm: str
    budget: int
    lr: float
    threshold: float | None  # of the clipper; None for an unclipped arm
    edge: bool  # the chosen lr is the first or last of the searched ones: a wider search may do better
    runs: int
    diverged: int
    divergence_rate: Estimate  # Wilson interval
    test_accuracy: Estimate  # over finished runs; t interval
    test_accuracy_bootstrap: Estimate  # percentile-free BCa bootstrap of the mean
    test_accuracy_iqm: Estimate  # interquartile mean, bootstrap interval
    val_accuracy: Estimate  # over finished runs; t interval
    test_loss: Estimate  # in nats, over finished runs; t interval
    test_also: Mapping[str, Estimate]  # further shares of the test split, such as top-5, by name; t intervals
    clip_rate: float  # mean over runs, diverged ones included
    norm_median: float  # median over runs of the runs' median norm before clipping
    # Of finished runs, or of all runs where none finished; times of those that were trained alone, if any was:
    timed_alone: int  # how many that is; 0: the times are shares of runs that were trained together
    step_ms: float  # median over runs
    optimizer_ms: float  # median over runs
    seconds: float  # mean wall time of a run
    steps: int  # of one run
    flops: float  # of one run
    tuning_runs: int
    tuning_diverged: int


@dataclass(frozen=True)
class Convergence:
    """Epochs to converge by one definition, for one arm."""

    arm: str
    definition: str  # "D1" ... "D5"
    epochs: float | None  # Kaplan-Meier median, None where fewer than half got there; D5: the budget or None
    reached: int  # how many runs got there; D5: at that budget, or at the largest where epochs is None
    runs: int
    log_rank_p: float | None  # against the first arm; None for D5 and for the first arm itself


@dataclass(frozen=True)
class Verdict:
    """One arm against another at the headline budget, on paired seeds. p values are nan below two pairs."""

    arm: str
    against: str
    difference: Estimate  # arm - against, fraction of 1; paired t interval
    improvement: float  # probability of improvement: share of pairs won, ties counted half
    p_difference: float  # two-sided paired t, Holm-adjusted
    p_equivalence: float  # the larger of the two one-sided tests at the margin, Holm-adjusted
    margin: float
    pairs: int  # seeds that both ran and at least one finished; a diverged run counts with chance accuracy
    verdict: str  # "better", "worse", "equivalent", "undecided"


@dataclass(frozen=True)
class Summary:
    """Everything a report says."""

    arms: tuple[ArmSummary, ...]  # every arm at every budget, budgets rising
    convergence: tuple[Convergence, ...]
    verdicts: tuple[Verdict, ...]
