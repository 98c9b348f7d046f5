"""DIFFERENCES: everything in which an optimizer differs from torch.optim's of the same name, and why.

The tests find the differences by comparison and accept exactly these; the documentation shows them.
"""

from typing import Literal, NamedTuple

from torch_tables import PEERS

Area = Literal["argument", "value", "attribute", "parameter group", "state", "checkpoint", "step"]
ADAMS = ("Adam", "AdamW", "NAdam", "RAdam")


class Difference(NamedTuple):
    """A difference between the two libraries.

    Attributes:
        area: of what it is a difference.
        names: what differs; several names where the same is to be said of all.
        torch: what torch.optim does. It names the exception that torch.optim raises, if it does.
        ours: what steadystep does, likewise.
        why: the reason.
        optimizers: where the difference is.
    """

    area: Area
    names: tuple[str, ...]
    torch: str
    ours: str
    why: str
    optimizers: tuple[str, ...] = PEERS


DIFFERENCES = (
    Difference(
        "argument",
        ("foreach",),
        "accepts it: one operation over many tensors",
        "`TypeError`: use `backend=`",
        'every backend computes the step of all tensors in one pass, or the plain way (`"eager"`)',
    ),
    Difference(
        "argument",
        ("fused",),
        "accepts it: one kernel for a step",
        "`TypeError`: use `backend=`",
        'the backends `"numba"` and `"triton"` are such kernels, and the default',
        ("SGD", "Adagrad", "Adam", "AdamW"),
    ),
    Difference(
        "argument",
        ("capturable",),
        "accepts it: the step counts are on the device",
        "`TypeError`: not needed",
        "the step counts are always on the device of their parameter, so a CUDA graph can capture every step",
        ("RMSprop", *ADAMS),
    ),
    Difference(
        "argument",
        ("differentiable",),
        "accepts it: autograd records the step",
        "`TypeError`: use torch.optim",
        "a step writes in place, outside autograd",
    ),
    Difference(
        "argument",
        ("decoupled_weight_decay",),
        "accepts it: Adam becomes AdamW",
        "`TypeError`: use `AdamW`",
        "a definition has one name",
        ("Adam",),
    ),
    Difference(
        "argument",
        ("maximize by position",),
        "accepts `maximize` after the hyperparameters",
        "`TypeError`: `maximize=` only by name",
        "what every optimizer has is given by name",
        ("RMSprop",),
    ),
    Difference(
        "argument",
        ("clip", "nonfinite", "max_consecutive_skips", "rounding", "variant", "backend", "state_dtype"),
        "`TypeError`",
        "accepts them: the [options of every optimizer](functions.md#options)",
        "the guarded step, clipping inside it, half precision of parameters and moments, several definitions and "
        "backends",
    ),
    Difference(
        "value",
        ("nan or infinity",),
        "accepts infinity, and SGD also nan",
        "`ValueError` for every hyperparameter",
        "no such value gives useful steps",
    ),
    Difference(
        "value",
        ("a bool",),
        "accepts True as 1",
        "`ValueError`",
        "it is one argument in the place of another",
    ),
    Difference(
        "value",
        ("None or a string",),
        "`TypeError` of a comparison; SGD accepts any `dampening`",
        "`ValueError` that names the hyperparameter",
        "the message says which one, and its range",
    ),
    Difference(
        "value",
        ("momentum outside [0, 1)",),
        "accepts 1 or more",
        "`ValueError`",
        "the momentum would grow without bound",
        ("SGD", "RMSprop"),
    ),
    Difference(
        "value",
        ("dampening outside [0, 1]",),
        "accepts every number",
        "`ValueError`",
        "the gradient would act in the wrong direction, or more than fully",
        ("SGD",),
    ),
    Difference(
        "value",
        ("alpha outside [0, 1)",),
        "accepts 1 or more",
        "`ValueError`",
        "the mean square would not move, or become negative",
        ("RMSprop",),
    ),
    Difference(
        "value",
        ("betas must be either both floats or both Tensors",),
        "`ValueError` for a number with a tensor",
        "accepts any two of one element each",
        "each is read on its own",
        ("Adam", "AdamW"),
    ),
    Difference(
        "value",
        ("an invalid option of a parameter group",),
        "accepts it: only the constructor's options are checked",
        "`ValueError`",
        "the options of a group act in the same way",
    ),
    Difference(
        "attribute",
        (
            *("clip", "ledger", "last_step_applied", "metrics", "name_parameters"),
            *("policy", "backend", "hyperparameters", "variants", "rule"),
        ),
        "does not have them",
        "has them",
        "the clippers, the outcome of steps, what to do about non-finite gradients, and what an optimizer is made of",
    ),
    Difference(
        "attribute",
        ("share_memory",),
        "has it: moves the state to shared memory",
        "does not have it",
        "processes that step without locks cannot refuse a step together",
        ("Adagrad",),
    ),
    Difference(
        "parameter group",
        ("base_lr", "ledger", "ledger.faults"),
        "does not have them",
        "has them, and the statistics of a clipper as `clip.*`",
        "they belong in a checkpoint: the first learning rate, and what the guarded step has counted",
    ),
    Difference(
        "parameter group",
        ("decoupled_weight_decay",),
        "has it, always True",
        "does not have it",
        "`AdamW` has no other",
        ("AdamW",),
    ),
    Difference(
        "state",
        ("step",),
        "does not have it",
        "has it",
        "every optimizer counts the steps of each parameter; a checkpoint of torch's SGD counts as past its first step",
        ("SGD",),
    ),
    Difference(
        "state",
        ("before the first step",),
        "has it from the start",
        "has none before the first step, like all other optimizers",
        "a parameter that never has a gradient needs no memory",
        ("Adagrad",),
    ),
    Difference(
        "state",
        ("dtype of step",),
        "float64 if that is torch's default dtype, otherwise float32",
        "float32",
        "a checkpoint does not depend on a setting",
        ("Adagrad", "RMSprop", *ADAMS),
    ),
    Difference(
        "state",
        ("dtype of mu_product",),
        "float64 if that is torch's default dtype, otherwise float32",
        "float64",
        "a product of many factors keeps its digits; where torch has float32, steps in float64 agree to 7 digits",
        ("NAdam",),
    ),
    Difference(
        "state",
        ("dtype of the state of bfloat16 parameters",),
        "bfloat16",
        "float32",
        "moments that decay slowly would stop changing",
    ),
    Difference(
        "checkpoint",
        ("state of another shape",),
        "accepts it; the next step raises an error",
        "`ValueError` of `load_state_dict`, which names the tensor and both shapes; nothing has been changed",
        "it is of another model, or of other parameters",
    ),
    Difference(
        "checkpoint",
        ("a group without maximize",),
        "sets `maximize` to False",
        "keeps what the constructor was given",
        "an option that an old checkpoint lacks says nothing",
    ),
    Difference(
        "checkpoint",
        ("decoupled_weight_decay in a group",),
        "accepts it: Adam continues as AdamW",
        "`ValueError`: load it into `AdamW`",
        "it would continue with another decay",
        ("Adam",),
    ),
    Difference(
        "step",
        ("a gradient that is not finite",),
        "writes nan into the parameters",
        "refuses the step, changes nothing and counts it; see `nonfinite`",
        "one bad batch need not destroy a run",
    ),
    Difference(
        "step",
        ("a sparse gradient",),
        "accepts it",
        "`RuntimeError` that says what to use",
        "a guarded step measures all elements",
        ("SGD", "Adagrad"),
    ),
    Difference(
        "step",
        ("a gradient of another dtype than its parameter",),
        "`RuntimeError`, or, SGD, momentum in the dtype of the gradient",
        "uses it in full precision, that of the state, whose dtype stays",
        "a gradient that was accumulated in float32 is of use for half-precision parameters",
        ("SGD", *ADAMS),
    ),
    Difference(
        "step",
        ("a moment below the smallest normal number",),
        "keeps it as a denormal number, often for ever",
        "stores 0",
        "many processors compute ten times as slowly with denormal numbers; a parameter without gradients has such "
        "moments after some 800 steps of Adam",
    ),
    Difference(
        "step",
        ("a float32 tensor as lr",),
        "computes the scalars of a float64 step in float32",
        "in float64, whatever the dtype of the tensor",
        "one learning rate means one step, whether it is a number or a tensor",
        ("Adam", "AdamW", "NAdam"),
    ),
)


def names_in(area: Area, optimizer: str) -> set[str]:
    """Return the names of the differences of an optimizer in an area."""
    return {name for row in DIFFERENCES if row.area == area and optimizer in row.optimizers for name in row.names}


def row_of(area: Area, name: str) -> Difference:
    """Return the row that has a name."""
    return next(row for row in DIFFERENCES if row.area == area and name in row.names)
