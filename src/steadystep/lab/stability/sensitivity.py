"""The learning-rate sensitivity of a sweep: how much is lost by not knowing the best learning rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from steadystep.lab.stability.run import SweepResults
from steadystep.lab.statistics.intervals import LEVEL, RESAMPLES
from steadystep.lab.statistics.reported import FEWEST
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.training.record import Record


@dataclass(frozen=True)
class Sensitivity:
    """The learning-rate sensitivity of an arm, in nats of the validation loss."""

    value: Estimate
    change: Estimate | None  # the arm's minus that of its unclipped twin; None for an unclipped arm


def sensitivity(losses: np.ndarray, guess: float) -> np.ndarray:
    """Return the learning-rate sensitivity: mean over η of min(ℓ(η), ℓ₀) − min over η of min(ℓ(η), ℓ₀).

    ℓ(η) is the final validation loss at learning rate η, averaged over seeds, and ℓ₀ that at initialisation, which is
    the loss of a guess. It has no tolerance: whether a learning rate counts as good is not asked. The mean is over the
    learning rates of the sweep, which are evenly spaced on a logarithmic scale.
    Source: Wortsman et al., Small-scale proxies for large-scale Transformer training instabilities, arXiv 2309.14322
    (2023), section 2.2.

    Args:
        losses: final losses in nats, (..., seeds, learning rates); one that is not finite counts as a guess.
        guess: ℓ₀ in nats.

    Returns:
        The sensitivity, (...), in nats: 0 if every learning rate is equally good.

    >>> sensitivity(np.array([[2.0, 1.0, 3.0, math.inf]]), guess=4.0)
    array(1.5)
    """
    capped = np.where(np.isfinite(losses), np.minimum(losses, guess), guess).mean(-2)
    return np.asarray(capped.mean(-1) - capped.min(-1))


def sensitivities(results: SweepResults) -> dict[str, Sensitivity]:
    """Return the sensitivity of every arm, with percentile bootstrap intervals over seeds, paired over arms."""
    study, guess = results.study, results.task.loss_of_a_guess
    losses = {name: _losses(runs) for name, runs in results.records.items()}
    found = {}
    for arm in study.arms:
        twin = study.twin(arm) if arm.clip else None
        found[arm.name] = Sensitivity(
            _bootstrap([losses[arm.name]], guess),
            _bootstrap([losses[arm.name], losses[twin.name]], guess) if twin else None,
        )
    return found


def _losses(runs: Sequence[Record]) -> np.ndarray:
    """Return the final validation losses, (seeds, learning rates); infinity for a run that did not finish."""
    table: Mapping[tuple[int, float], float] = {
        (run.trial.seed, run.trial.lr): math.inf if run.val_loss is None or run.outcome == "diverged" else run.val_loss
        for run in runs
    }
    seeds, lrs = sorted({seed for seed, _ in table}), sorted({lr for _, lr in table})
    return np.array([[table[seed, lr] for lr in lrs] for seed in seeds])


def _bootstrap(losses: Sequence[np.ndarray], guess: float) -> Estimate:
    """Return the sensitivity of one arm, or that of the first minus that of the second, and its interval over seeds."""
    seeds = np.arange(min(len(of_arm) for of_arm in losses))

    def statistic(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        values = [sensitivity(of_arm[drawn], guess) for of_arm in losses]
        return values[0] - values[1] if len(values) > 1 else values[0]

    value = float(statistic(seeds))
    if len(seeds) < FEWEST:
        return Estimate(value, math.nan, math.nan)
    drawn = stats.bootstrap(
        (seeds,),
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=1_000,
    )
    return Estimate(value, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high))
