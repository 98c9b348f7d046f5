"""What a rerun may differ by: rarely less than chance makes it, and no record decides its own allowance."""

from collections.abc import Sequence

import numpy as np
import pytest

from steadystep.lab.statistics.agreement import allowed_differences

MARGIN = 0.002


def rerun(random: np.random.Generator, seeds: int, spreads: Sequence[float], same_machine: bool, forged: float) -> bool:
    """Return whether all of 6 reruns of a study of three arms are allowed; some accuracies were raised by `forged`."""
    truth = [random.normal(0.9, spread, seeds) for spread in spreads]
    records = [values.copy() for values in truth]
    records[0][0] += forged
    cells = [(arm, seed) for seed in range(seeds) for arm in range(len(spreads))][:6]
    again = [truth[arm][seed] if same_machine else random.normal(0.9, spreads[arm]) for arm, seed in cells]
    differences = [second - records[arm][seed] for second, (arm, seed) in zip(again, cells, strict=True)]
    others = [np.delete(records[arm], seed).tolist() for arm, seed in cells]
    allowed = allowed_differences([difference == 0 for difference in differences], others, MARGIN)
    return all(abs(difference) <= most for difference, most in zip(differences, allowed, strict=True))


@pytest.mark.parametrize("spreads", [(0.002, 0.002, 0.002), (0.002, 0.0006, 0.02)], ids=["alike", "unlike"])
@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_another_machine_that_ends_like_other_seeds_is_rarely_refused(seeds: int, spreads: Sequence[float]) -> None:
    random = np.random.default_rng(0)
    refused = sum(not rerun(random, seeds, spreads, same_machine=False, forged=0.0) for _ in range(400))
    assert refused <= 0.05 * 400


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_a_single_other_record_is_seen_on_a_machine_that_computes_the_same(seeds: int) -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        assert not rerun(random, seeds, (0.005, 0.005, 0.005), same_machine=True, forged=1.01 * MARGIN)
        assert rerun(random, seeds, (0.005, 0.005, 0.005), same_machine=True, forged=0.99 * MARGIN)


def test_equal_accuracies_alone_do_not_make_machines_the_same() -> None:
    """Accuracies are shares of few examples, so that they are often equal where losses are not."""
    seeds = [0.90, 0.91, 0.90, 0.91]
    assert allowed_differences([False] * 3, [seeds] * 3, MARGIN)[0] > 0.05


def test_a_single_trial_says_nothing_of_the_machine() -> None:
    seeds = [0.90, 0.91, 0.90, 0.91]
    assert allowed_differences([True], [seeds], MARGIN) == allowed_differences([False], [seeds], MARGIN)


def test_without_a_spread_the_margin_is_allowed() -> None:
    assert allowed_differences([False] * 3, [[0.9], [], [0.9, 0.9, 0.9]], MARGIN) == (MARGIN,) * 3
    assert allowed_differences([], [], MARGIN) == ()
