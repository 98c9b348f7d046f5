"""What a diagnosis must say of the ten public-like cases in `public/`, which are run by the command line."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "public"


@dataclass(frozen=True)
class Reported:
    """A case as from a public report; an expert may call it by any of `culprits`, the best one first."""

    name: str
    culprits: tuple[str, ...]
    places: tuple[str, ...]

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.py"


REPORTED = (
    Reported("masked_attention", ("forward-op",), ("attn", "softmax")),
    Reported("half_adam", ("optimizer-precision",), ("eps",)),
    Reported("contrastive_distance", ("backward-op",), ("sqrt", "Sqrt")),
    Reported("fp16_pooling", ("range",), ("pool",)),
    Reported("amp_clipping", ("clip-order",), ("unscale", "clip", "scale")),
    Reported("ocr_ctc", ("batch",), ("example 2", "batch 47")),
    Reported("resumed", ("optimizer-state",), ("exp_avg_sq", "second moment", "state")),
    # One batch without a label: the fault is in the batch, and the loss has no guard against it.
    Reported("sft_labels", ("batch", "wrong-loss"), ("batch 52", "labels", "example")),
    Reported("softmax_output", ("wrong-loss",), ("softmax", "loss")),
    Reported("forgotten_zero_grad", ("accumulation",), ("zero_grad", "gradient")),
)
