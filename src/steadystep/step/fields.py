"""The entries of the ledger."""

FIELDS: tuple[str, ...] = (
    "attempted",
    "applied",
    "skipped_nonfinite",
    "skipped_overflow",
    "skipped_outlier",
    "consecutive_skips",
    "clipped",
    "norm_before",
    "norm_after",
    "running_norm_before",
    "running_norm_after",
    "running_weight",
    "infinite_under_scaler",
    "nonfinite_updates",
    "zero_gradients",
    "already_clipped",
    "last_abs_max",
    "largest_norm",
    "largest_abs_max",
    "norm_repeats",
    "abs_max_repeats",
    "skipped_loss",
    "first_skip",
    "first_skip_reason",
    "last_skip",
    "last_skip_reason",
    "last_sound_norm",
    "rising_from",
    "rising_for",
)
"""The entries of the ledger's float64 vector. As one tensor it travels in `state_dict`."""

REASONS = ("nonfinite", "overflow", "outlier", "loss", "update")
"""Why a step is refused; in the vector, a reason is its place here plus 1."""

AT = {name: index for index, name in enumerate(FIELDS)}
"""The position of each entry."""
