"""The entries of the ledger."""

FIELDS = (
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
)
"""The entries of the ledger's float64 vector. As one tensor it travels in `state_dict`."""

AT = {name: index for index, name in enumerate(FIELDS)}
"""The position of each entry."""
