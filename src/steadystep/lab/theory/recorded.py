"""What the check of each claim found when it was last looked at. A check that finds otherwise has news."""

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
