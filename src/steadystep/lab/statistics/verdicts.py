"""Verdicts: pairwise comparisons of all arms on paired seeds, with the task's declared equivalence margin."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.special import stdtr
from statsmodels.stats.multitest import multipletests

from steadystep.lab.statistics.intervals import paired_differences
from steadystep.lab.statistics.reported import difference_estimate
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record

ALPHA = 0.05

Samples = tuple[Sequence[float], Sequence[float]]


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Compare the test accuracies of all pairs of arms at the headline budget, each arm with the arms before it.

    Runs are paired by seed. If one run of a pair diverged and the other finished, the diverged run counts with chance
    accuracy, because dropping the pair would hide the divergence. One or two such pairs of ten widen the interval of
    the difference so much that the verdict is undecided, which is right for an arm whose outcome depends on luck. A
    seed on which both arms diverged does not show which one is better and is left out, so two arms that never train
    are undecided, not equivalent.
    """
    study, chance = results.study, results.task.chance
    runs = {arm.name: {r.trial.seed: r for r in results.final[arm.name, study.epochs]} for arm in study.arms}
    samples = {(b, a): paired_accuracies(runs[b], runs[a], chance) for a, b in combinations(runs, 2)}
    return judge(samples, results.task.margin)


def paired_accuracies(runs: Mapping[int, Record], against: Mapping[int, Record], chance: float) -> Samples:
    """Return the test accuracies on seeds that both arms ran and at least one finished; `chance` for a diverged run."""
    pairs = [(runs[seed], against[seed]) for seed in sorted(runs.keys() & against.keys())]
    valid = [pair for pair in pairs if any(run.outcome == "finished" for run in pair)]
    return [_accuracy(run, chance) for run, _ in valid], [_accuracy(run, chance) for _, run in valid]


def judge(samples: Mapping[tuple[str, str], Samples], margin: float) -> tuple[Verdict, ...]:
    """Return one verdict for each pair of arms, with p values adjusted over all pairs.

    Holm's method adjusts the two-sided tests and the equivalence tests separately, so each of the two kinds of false
    claim has a probability of at most 5% over the whole family. Pairs that cannot be tested (fewer than 2 seeds) have
    p = nan, are undecided, and are left out of the adjustment.

    >>> drawn = judge({("b", "a"): ([0.9, 0.91, 0.92], [0.9, 0.91, 0.92])}, margin=0.005)[0]
    >>> drawn.verdict, drawn.improvement, drawn.p_difference, drawn.p_equivalence
    ('equivalent', 0.5, 1.0, 0.0)
    """
    differences = [paired_differences(*pair) for pair in samples.values()]
    p_difference = holm([difference_p(values) for values in differences])
    p_equivalence = holm([equivalence_p(values, margin) for values in differences])
    result = []
    for i, ((arm, against), pair) in enumerate(samples.items()):
        difference = difference_estimate(*pair)
        result.append(
            Verdict(
                arm=arm,
                against=against,
                difference=difference,
                improvement=improvement_probability(differences[i]),
                p_difference=p_difference[i],
                p_equivalence=p_equivalence[i],
                margin=margin,
                pairs=len(differences[i]),
                verdict=decide(difference.mean, p_difference[i], p_equivalence[i]),
            )
        )
    return tuple(result)


def decide(difference: float, p_difference: float, p_equivalence: float) -> str:
    """Return the verdict for adjusted p values; if both tests are significant, the difference is too small to matter.

    >>> decide(0.001, p_difference=0.01, p_equivalence=0.01)
    'equivalent'
    >>> decide(0.02, p_difference=0.01, p_equivalence=0.9)
    'better'
    """
    if p_equivalence < ALPHA:
        return "equivalent"
    if p_difference < ALPHA:
        return "better" if difference > 0 else "worse"
    return "undecided"


def difference_p(differences: np.ndarray) -> float:
    """Return the two-sided p value of the paired t test: 2 P(T(n-1) >= |t|), t = mean / (s / √n).

    Without variance the difference is certain: p = 1 if it is 0, otherwise 0. The result is nan for fewer than two
    pairs.

    >>> round(difference_p(np.array([1.0, 2.0, 3.0])), 4)  # t = 2 √3 at 2 degrees of freedom
    0.0742
    """
    if len(differences) < 2:
        return math.nan
    mean, error = _mean_and_error(differences)
    if error == 0:
        return float(mean == 0)
    return float(2 * stdtr(len(differences) - 1, -abs(mean) / error))


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """Return the larger p value of the two one-sided paired t tests; the null hypothesis is |mean| >= margin.

    p = P(T(n-1) >= (margin - |mean|) / (s / √n)). Without variance p = 0 if |mean| < margin, otherwise 1. The result
    is nan for fewer than two pairs.
    Source: Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokin. Biopharm. 15, 1987.

    >>> round(equivalence_p(np.array([-1.0, 0.0, 1.0]), margin=2), 4)  # t = 2 √3 at 2 degrees of freedom
    0.0371
    """
    if len(differences) < 2:
        return math.nan
    mean, error = _mean_and_error(differences)
    if error == 0:
        return float(abs(mean) >= margin)
    return float(stdtr(len(differences) - 1, (abs(mean) - margin) / error))


def improvement_probability(differences: np.ndarray) -> float:
    """Return the fraction of pairs with a positive difference, where ties count half; nan if there are no pairs.

    >>> improvement_probability(np.array([0.1, 0.0, -0.2, 0.3]))
    0.625
    """
    return float(np.mean((np.sign(differences) + 1) / 2)) if len(differences) else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's step-down adjustment: max over j <= i of (m - j + 1) p(j), at most 1. nan entries are left out.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).

    >>> holm([0.01, math.nan, 0.03])
    [0.02, nan, 0.03]
    """
    adjusted = np.array(p_values, float)
    tested = ~np.isnan(adjusted)
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return adjusted.tolist()


def _mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    if np.ptp(differences) == 0:  # exact, whereas the formulas would have a rounding error
        return float(differences[0]), 0.0
    return float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def _accuracy(run: Record, chance: float) -> float:
    return chance if run.outcome == "diverged" or run.test_accuracy is None else run.test_accuracy
