"""The terms of the reports, each with a definition."""

from steadystep.lab.statistics.convergence import DEFINITIONS

TERMS = {
    "arm": "One of the configurations that a study compares: an optimizer with its options, with or without clipping.",
    "trial": "One training run: an arm with a setting, a budget and a seed.",
    "budget": "The number of epochs of a run; every budget has its own full learning rate schedule and its own tuning.",
    "seed": "The number that determines the initial weights, the order of the data and the noise of a run; the runs of "
    "two arms with the same seed form a pair.",
    "verdict": "The result of the comparison of two arms over paired seeds: better, worse, equivalent or undecided.",
    "margin": "The largest difference of test accuracy, in points, that does not matter, declared with the task; two "
    "arms are equivalent if their difference is shown to be smaller.",
    "95% interval": "The values of a mean that the runs are compatible with, from three seeds on: for a share of runs "
    "Wilson's interval, for an accuracy the t interval, which is computed on the logit scale if it would exceed 0 or "
    "100%, and for a difference of accuracies the paired t interval, cut off at 100 points.",
    "clip rate": "The share of the steps in which clipping changed the gradient.",
    "learning-rate sensitivity": "The mean of the final validation loss over the learning rates of a sweep, minus the "
    "lowest one: what is lost on average by not knowing the best learning rate.",
    "usable range": "The learning rates from the smallest to the largest at which all runs of an arm finish, learn and "
    "end close to its best accuracy; below it training is too slow for the budget, above it unstable.",
    "test seen": "Said of a study that already had results on the test split when it got its present declaration.",
    "ledger": "The counters and norms that an optimizer records over its steps: applied, skipped and clipped steps, "
    "and gradient norms before and after clipping.",
}
"""The definition of each general term, one sentence."""

GLOSSARY = {**TERMS, **{definition.name: definition.statement for definition in DEFINITIONS}}
"""The definition of each term in the report of a study: the general terms and the convergence times."""
