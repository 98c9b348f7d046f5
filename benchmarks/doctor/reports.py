"""What a diagnosis must say of programs in files, which are run by the command line.

Those in `public/` are written as in public reports. Those in `unseen_first/` and `unseen_second/` were written later by
somebody who had not seen the doctor, and were measured once before anything was changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Reported:
    """A program in a file; an expert may call its fault by any of `culprits`, the best one first. None: it is sound."""

    name: str
    culprits: tuple[str, ...]
    places: tuple[str, ...]
    kind: str = "public"

    @property
    def file(self) -> Path:
        return FOLDER / self.kind / f"{self.name}.py"


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


def _unseen(kind: str, cases: Mapping[str, tuple[str, ...]], healthy: int) -> tuple[Reported, ...]:
    """Return the cases of a set: what is expected of each program with a fault, and how many sound ones there are."""
    faulty = [Reported(name, (culprit,), tuple(places), kind) for name, (culprit, *places) in cases.items()]
    return (*faulty, *(Reported(f"healthy_{number}", (), (), kind) for number in range(1, healthy + 1)))


FIRST = _unseen(
    "unseen_first",
    {
        "churn_survival": ("batch", "batch 83", "example 11"),
        "sparse_experts": ("forward-op", "router", "div"),
        "night_photos": ("backward-op", "pow", "Pow", "where", "srgb"),
        "load_forecast": ("range", "scale", "SCALE", "head", "embed", "block", "backward"),
        "bf16_recommender": ("optimizer-precision", "bfloat16", "user", "item"),
        "moved_trainer": ("optimizer-state", "exp_avg", "state"),
        "graph_warmup": ("learning-rate", "lr", "LambdaLR"),
        "insurance_claims": ("outlier-gradient", "batch 96", "example 19"),
        "ema_rnn": ("clip-order", "clip_grad_norm_", "ema"),
        "cells_microbatches": ("accumulation", "micro", "accumul", "backward", "divi", "gradient"),
        "keypoint_heatmap": ("initialisation", "bias", "backbone", "relu", "ReLU"),
        "bike_rental": ("wrong-loss", "sub", "loss", "broadcast"),
    },
    healthy=8,
)

SECOND = _unseen(
    "unseen_second",
    {
        "keyword_spotting": ("batch", "batch 83", "example 5"),
        "ring_transport": ("forward-op", "sinkhorn", "exp", "div", "reciprocal"),
        "camera_rotation": ("backward-op", "acos", "Acos"),
        "superres_amp": ("range", "to_pixels", "shuffle", "mid", "feat", "scale", "backward"),
        "wavefront": ("optimizer-precision", "eps"),
        "lookahead_finetune": ("optimizer-state", "state"),
        "rank_transformer": ("learning-rate", "lr"),
        "viral_counts": ("outlier-gradient", "batch 58", "example 11"),
        "oscillator_rollout": ("clip-order", "clip"),
        "two_towers": ("accumulation", "backward", "accumul", "micro", "zero_grad"),
        "gene_autoencoder": ("initialisation", "encoder", "decoder"),
        "glyph_vae": ("wrong-loss", "kld", "mse_loss", "sum", "logvar", "mu", "latent"),
    },
    healthy=6,
)

FILES = (*REPORTED, *FIRST, *SECOND)
