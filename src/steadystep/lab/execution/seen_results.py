"""Count the test results in a study's folder that precede its declaration, or that it does not explain."""

from dataclasses import replace

from steadystep.lab.execution.store import Store
from steadystep.lab.study.records import Results


def with_test_seen(results: Results, store: Store) -> Results:
    """Return the results with the number of test results that were seen when the study got its present declaration.

    That is the number that its study.json tells, or that of the test results in its folder that no run of this
    declaration could have left there, if there are more. They belong to another declaration: one with other seeds or
    another search, for example.
    """
    declared, study = store.declared().test_seen, results.study
    seeds = range(study.first_seed, study.first_seed + study.looks[-1])
    known = {runs[0].trial.model_copy(update={"seed": seed}).id for runs in results.final.values() for seed in seeds}
    known.update(run.trial.id for runs in results.tuning.values() for run in runs)  # which have no test results
    return replace(results, test_seen=max(declared, len(store.test_results(leave_out=known))))
