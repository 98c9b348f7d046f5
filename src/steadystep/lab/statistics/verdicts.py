"""Verdicts: pairwise comparisons of all arms on paired seeds, with the task's declared equivalence margin."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri, stdtr

from steadystep.lab.choices import Spending
from steadystep.lab.statistics.intervals import paired_differences
from steadystep.lab.statistics.reported import FEWEST, difference_estimate
from steadystep.lab.statistics.sequential.p_value import sequential_p
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record

ALPHA = 0.05

UNDECIDED = "undecided"

Pair = tuple[str, str]
"""An arm and the one it is compared with."""

Samples = tuple[Sequence[float], Sequence[float]]


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Compare the test accuracies of all pairs of arms at the headline budget, each arm with the arms before it.

    Runs are paired by seed. If one run of a pair diverged and the other finished, the diverged run counts with chance
    accuracy, because dropping the pair would hide the divergence. One or two such pairs of ten widen the interval of
    the difference so much that the verdict is undecided, which is right for an arm whose outcome depends on luck. A
    seed on which both arms diverged does not show which one is better and is left out, so two arms that never train
    are undecided, not equivalent.

    A study that goes on until its pairs are decided looks at its first seeds, then at more of them. A pair's verdict is
    that of the look at which it was decided.
    """
    study, chance = results.study, results.task.chance
    runs = {arm.name: {r.trial.seed: r for r in results.final[arm.name, study.epochs]} for arm in study.arms}
    looks = []
    for seeds in study.looks:
        there = [name for name, of_arm in runs.items() if seeds == study.seeds or len(of_arm) >= seeds]
        end = study.first_seed + seeds
        until = {name: {seed: run for seed, run in runs[name].items() if seed < end} for name in there}
        looks.append({(b, a): paired_accuracies(until[b], until[a], chance) for a, b in combinations(there, 2)})
    if study.until_decided is None:
        return judge(looks[0], results.task.margin)
    return judge_looks(looks, results.task.margin, study.looks, study.until_decided.spending)


def undecided_arms(results: Results) -> frozenset[str]:
    """Return the arms of the pairs that are undecided so far."""
    return frozenset(
        arm for verdict in verdicts(results) if verdict.verdict == UNDECIDED for arm in (verdict.arm, verdict.against)
    )


def paired_accuracies(runs: Mapping[int, Record], against: Mapping[int, Record], chance: float) -> Samples:
    """Return the test accuracies on seeds that both arms ran and at least one finished; `chance` for a diverged run."""
    pairs = [(runs[seed], against[seed]) for seed in sorted(runs.keys() & against.keys())]
    valid = [pair for pair in pairs if any(run.outcome == "finished" for run in pair)]
    return [_accuracy(run, chance) for run, _ in valid], [_accuracy(run, chance) for _, run in valid]


def judge(samples: Mapping[Pair, Samples], margin: float) -> tuple[Verdict, ...]:
    """Return one verdict for each pair of arms, with p values adjusted over all pairs.

    Holm's method adjusts the two-sided tests and the equivalence tests separately, so each of the two kinds of false
    claim has a probability of at most 5% over the whole family. Pairs of fewer than 3 seeds, which have no interval
    either, are not tested: they have p = nan, are undecided, and are left out of the adjustment.

    >>> drawn = judge({("b", "a"): ([0.9, 0.91, 0.92, 0.93, 0.94], [0.9, 0.91, 0.92, 0.93, 0.94])}, margin=0.005)[0]
    >>> drawn.verdict, drawn.improvement, drawn.p_difference, drawn.p_equivalence
    ('equivalent', 0.5, 1.0, 0.03125)
    """
    seeds = max((len(first) for first, _ in samples.values()), default=0)
    return judge_looks([samples], margin, (seeds,), "pocock")


def judge_looks(
    looks: Sequence[Mapping[Pair, Samples]], margin: float, seeds: Sequence[int], spending: Spending
) -> tuple[Verdict, ...]:
    """Return one verdict for each pair of arms, of the first look that decides it or else of the last one.

    The p value of a pair is that of all looks so far, see `sequential_p`; over the pairs, Holm's method adjusts it as
    in `judge`.

    Args:
        looks: the samples of each look so far; those of a pair include the samples of the looks before.
        margin: of equivalence.
        seeds: the numbers of seeds of all looks of the design, also of those to come.
        spending: the name of the alpha-spending function.
    """
    shares = tuple(number / seeds[-1] for number in seeds) if seeds[-1] else (1.0,)
    different: dict[Pair, list[float]] = {pair: [] for pair in looks[0]}
    equivalent: dict[Pair, list[float]] = {pair: [] for pair in looks[0]}
    found: dict[Pair, Verdict] = {}
    for number, samples in enumerate(looks):
        open_pairs = [pair for pair in samples if pair not in found or found[pair].verdict == UNDECIDED]
        differences = {pair: paired_differences(*samples[pair]) for pair in open_pairs}
        for pair, values in differences.items():
            different[pair].append(difference_p(values))
            equivalent[pair].append(equivalence_p(values, margin))
        p_difference = _adjusted(different, shares, spending, sides=2)
        p_equivalence = _adjusted(equivalent, shares, spending, sides=1)
        tested = sum(not math.isnan(p) for p in p_equivalence.values())
        for pair, values in differences.items():
            difference = difference_estimate(*samples[pair])
            verdict = decide(difference.mean, p_difference[pair], p_equivalence[pair])
            found[pair] = Verdict(
                arm=pair[0],
                against=pair[1],
                difference=difference,
                improvement=improvement_probability(values),
                p_difference=p_difference[pair],
                p_equivalence=p_equivalence[pair],
                margin=margin,
                pairs=len(values),
                verdict=verdict,
                seeds=seeds[number],
                seeds_needed=seeds_needed(values, margin, tested) if verdict == UNDECIDED else None,
            )
    return tuple(found[pair] for pair in looks[0])


def _adjusted(
    p_values: Mapping[Pair, Sequence[float]], shares: tuple[float, ...], spending: Spending, sides: int
) -> dict[Pair, float]:
    so_far = [sequential_p(values, shares, spending, sides=sides) for values in p_values.values()]
    return dict(zip(p_values, holm(so_far), strict=True))


def seeds_needed(differences: np.ndarray, margin: float, pairs: int) -> int | None:
    """Return about how many seeds would decide a pair with a probability of 80%, if it stays as it is so far.

    That is the smaller of (z(1 - a / 2) + z(0.8))² s² / d², which shows the difference, and the n with
    Φ(√n (margin - |d|) / s - z(1 - a)) + Φ(√n (margin + |d|) / s - z(1 - a)) = 1.8, which shows equivalence by both of
    its one-sided tests, at the level a = 0.05 / pairs that Holm's method is strictest with. At least one more than
    there are. None for fewer than two differences, or if they are all alike.

    >>> seeds_needed(np.array([-0.006, 0.006, -0.002, 0.002]), margin=0.005, pairs=1)
    10
    """
    if len(differences) < 2 or (spread := float(np.std(differences, ddof=1))) == 0:
        return None
    mean, level = abs(float(np.mean(differences))), ALPHA / max(pairs, 1)
    shows = [(float(-ndtri(level / 2)) + float(ndtri(0.8))) / mean] if mean else []
    if mean < margin:
        shows.append(_roots_for_equivalence(mean, margin, float(-ndtri(level))))
    return max(math.ceil((min(shows) * spread) ** 2), len(differences) + 1) if shows else None


def _roots_for_equivalence(mean: float, margin: float, critical: float) -> float:
    """Return √n / s with which both one-sided tests of equivalence succeed with a probability of 80%."""
    # Imported here: it takes long, and few pairs are undecided.
    from scipy.optimize import root_scalar

    def excess(roots: float) -> float:
        return float(ndtr((margin - mean) * roots - critical) + ndtr((margin + mean) * roots - critical)) - 1.8

    most = (critical + float(ndtri(0.9))) / (margin - mean)  # each of the two then succeeds with at least 90%
    return float(root_scalar(excess, bracket=(0.0, 1.001 * most)).root)


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
    return UNDECIDED


def difference_p(differences: np.ndarray) -> float:
    """Return the two-sided p value of the paired t test: 2 P(T(n-1) >= |t|), t = mean / (s / √n).

    Without variance t says nothing of chance, because accuracies are shares of few examples and two of them are often
    equal. The sign test then decides: p = 2^(1-n), or 1 if all differences are 0. The result is nan for fewer pairs
    than an interval needs.

    >>> round(difference_p(np.array([1.0, 2.0, 3.0])), 4)  # t = 2 √3 at 2 degrees of freedom
    0.0742
    """
    if len(differences) < FEWEST:
        return math.nan
    mean, error = _mean_and_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 2.0 ** (1 - len(differences))
    return float(2 * stdtr(len(differences) - 1, -abs(mean) / error))


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """Return the larger p value of the two one-sided paired t tests; the null hypothesis is |mean| >= margin.

    p = P(T(n-1) >= (margin - |mean|) / (s / √n)). Without variance p is that of the sign test, 2^-n, if |mean| is below
    the margin, otherwise 1. The result is nan for fewer pairs than an interval needs.
    Source: Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokin. Biopharm. 15, 1987.

    >>> round(equivalence_p(np.array([-1.0, 0.0, 1.0]), margin=2), 4)  # t = 2 √3 at 2 degrees of freedom
    0.0371
    """
    if len(differences) < FEWEST:
        return math.nan
    mean, error = _mean_and_error(differences)
    if error == 0:
        return 1.0 if abs(mean) >= margin else 2.0 ** -len(differences)
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
    # Imported here: whoever only reads records needs no statistics, and the import takes long.
    from statsmodels.stats.multitest import multipletests

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
