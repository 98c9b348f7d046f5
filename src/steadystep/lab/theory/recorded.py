"""The last known status of each claim. `run_claim` reports checks that give a different status."""

from collections.abc import Mapping

from steadystep.lab.theory.claim import Status

RECORDED: Mapping[str, Status] = {
    "bias-correction": "holds",
    "step-bound": "refuted",
    "scale-invariance": "needs an assumption",
    "starvation": "holds",
    "nonconvergence": "refuted",
    "printed-adam": "refuted",
    "printed-clipping": "needs an assumption",
    "rnn-gradients": "holds",
    "cliff": "holds",
    "bounded-step": "holds",
    "relaxed-smoothness": "holds",
    "stability-thresholds": "holds",
    "clipping-bias": "holds",
    "heavy-tails": "holds",
    "latch": "holds",
}
