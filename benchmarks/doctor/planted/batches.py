"""`batch`: one example of one batch, which no weights can digest."""

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import lstm_ctc, sequence_gru
from benchmarks.doctor.run import Run


def _where(name: str, seed: int, size: int) -> tuple[int, int]:
    """Draw the batch and the example."""
    draw = drawn(name, seed)
    return draw.randrange(FIRST, LAST), draw.randrange(size)


def _empty_sequence(seed: int, sound: bool = False) -> Run:
    """Plant a sequence of length 0: the mean over its states is 0/0."""
    run = sequence_gru.make(seed)
    batch, example = _where("empty-sequence", seed, 16)
    if not sound:
        run.batches[batch]["lengths"][example] = 0
        run.batches[batch]["x"][example] = 0
    return run


def _target_longer_than_input(seed: int, sound: bool = False) -> Run:
    """Plant a target that is longer than its frames: no alignment exists, and the CTC loss is infinite."""
    run = lstm_ctc.make(seed)
    batch, example = _where("target-longer-than-input", seed, 8)
    if not sound:
        run.batches[batch]["lengths"][example] = 2
        run.batches[batch]["targets"][example, :4] = run.batches[batch]["targets"][example, 0]
        run.batches[batch]["target_lengths"][example] = 4
    return run


def _places(name: str, size: int, seed: int) -> tuple[str, ...]:
    batch, example = _where(name, seed, size)
    return f"example {example}", f"batch {batch}"


CASES = (
    Planted(
        "empty-sequence", "batch", "sequence_gru", _empty_sequence,
        lambda seed: _places("empty-sequence", 16, seed), "not finite",
    ),
    Planted(
        "target-longer-than-input", "batch", "lstm_ctc", _target_longer_than_input,
        lambda seed: _places("target-longer-than-input", 8, seed), "not finite",
    ),
)  # fmt: skip
