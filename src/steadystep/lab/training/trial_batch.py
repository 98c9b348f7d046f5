"""A batch of trials that are trained together."""

from dataclasses import dataclass

from steadystep.lab.training.trial import Trial, fingerprint


@dataclass(frozen=True)
class TrialBatch:
    """Trials that are trained together: a single one, or several that differ only in seeds and hyperparameter values.

    A batch does not depend on which of its trials already have records, so an interrupted study resumes with the same
    batches. If some trials of a batch have no record yet, the whole batch is trained again, and only the missing
    records are written.
    """

    trials: tuple[Trial, ...]

    @property
    def epochs(self) -> int:
        """The total number of epochs of all trials."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def id(self) -> str:
        """The identity of the single trial, or one that is computed from the identities of all trials."""
        if len(self.trials) == 1:
            return self.trials[0].id
        return fingerprint(" ".join(trial.id for trial in self.trials))
