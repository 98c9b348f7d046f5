"""The terms of the reports, each with a definition."""

from steadystep.lab.statistics.convergence import DEFINITION_NAMES, DEFINITIONS

TERMS = {
    "arm": "One of the configurations that a study compares: an optimizer with its options, with or without clipping.",
    "trial": "One training run: an arm with a setting, a budget and a seed.",
    "budget": "The number of epochs of a run; every budget has its own full learning rate schedule and its own tuning.",
    "seed": "The number that determines the initial weights, the order of the data and the noise of a run; the runs of "
    "two arms with the same seed form a pair.",
    "verdict": "The result of the comparison of two arms over paired seeds: better, worse, equivalent or undecided.",
    "margin": "The largest difference of test accuracy, in points, that does not matter, declared with the task; two "
    "arms are equivalent if their difference is shown to be smaller.",
    "clip rate": "The share of the steps in which clipping changed the gradient.",
    "stable range": "The learning rates from the smallest to the largest at which all runs of an arm finish, learn and "
    "end close to its best accuracy.",
    "ledger": "The counters and norms that an optimizer records over its steps: applied, skipped and clipped steps, "
    "and gradient norms before and after clipping.",
}
"""The definition of each general term, one sentence."""

GLOSSARY = {**TERMS, **{DEFINITION_NAMES[definition.id]: definition.statement for definition in DEFINITIONS}}
"""The definition of each term in the report of a study: the general terms and the convergence times."""
