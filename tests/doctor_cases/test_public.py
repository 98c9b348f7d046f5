"""The ten cases as from public reports fail as their reports say, and the known answer cures each."""

import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.doctor.planted.case import CULPRITS, learns, mean, watch
from benchmarks.doctor.reports import FILES, FOLDER, REPORTED, Reported
from benchmarks.doctor.run import finite, plain_step, train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def module_of(case: Reported) -> ModuleType:
    specification = importlib.util.spec_from_file_location(case.name, case.file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def without_batch(module: ModuleType, run: Any) -> None:
    run.batches = [batch for number, batch in enumerate(run.batches) if number != 52]


def without_example(module: ModuleType, run: Any) -> None:
    batches = [run.batches[number] for number in range(len(run.batches))]
    keep = torch.tensor([0, 1, 3, 4, 5])
    batches[47] = {name: tensor[keep] for name, tensor in batches[47].items()}
    run.batches = batches


def padding_only_as_keys(module: ModuleType, run: Any) -> None:
    def forward(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        att = torch.bmm(q, k.transpose(1, 2)) / q.size(-1) ** 0.5
        return torch.bmm(self.softmax(att.masked_fill(~mask.unsqueeze(1), float("-inf"))), v)

    module.SelfAttention.forward = forward


def larger_eps(module: ModuleType, run: Any) -> None:
    run.optimizer.param_groups[0]["eps"] = 1e-4


def root_away_from_zero(module: ModuleType, run: Any) -> None:
    vars(module)["pairwise_distances"] = lambda z: ((z.unsqueeze(0) - z.unsqueeze(1)).square().sum(2) + 1e-6).sqrt()


def in_float32(module: ModuleType, run: Any) -> None:
    run.loss = lambda model, batch: nn.functional.smooth_l1_loss(model(batch[0]), batch[1], beta=100.0)


def unscale_first(module: ModuleType, run: Any) -> None:
    clip = nn.utils.clip_grad_norm_

    def step(run: Any, batch: Any) -> float:
        run.optimizer.zero_grad(set_to_none=True)
        loss = run.loss(run.model, batch)
        run.scaler.scale(loss).backward()
        run.scaler.unscale_(run.optimizer)
        clip(run.model.parameters(), run.max_grad_norm)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        return loss.item()

    run.step = step


def fresh_moments(module: ModuleType, run: Any) -> None:
    run.optimizer.state.clear()


def logits(module: ModuleType, run: Any) -> None:
    run.model.softmax = nn.Identity()


def own_zero_grad(module: ModuleType, run: Any) -> None:
    run.step = plain_step


CURES: dict[str, Callable[[ModuleType, Any], None]] = {
    "masked_attention": padding_only_as_keys,
    "half_adam": larger_eps,
    "contrastive_distance": root_away_from_zero,
    "fp16_pooling": in_float32,
    "amp_clipping": unscale_first,
    "ocr_ctc": without_example,
    "resumed": fresh_moments,
    "sft_labels": without_batch,
    "softmax_output": logits,
    "forgotten_zero_grad": own_zero_grad,
}
SEES = {
    "amp_clipping": "stall",
    "softmax_output": "stall",
    "forgotten_zero_grad": "spike",
    "resumed": "spike",
}
"""What is seen, if it is not a value that is not finite."""


def rows() -> list[object]:
    """Mark the cases with costlier steps as slow."""
    costly = {"ocr_ctc", "resumed", "fp16_pooling", "amp_clipping"}
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in costly else []) for case in REPORTED
    ]


@pytest.mark.parametrize("case", rows())
def test_a_reported_case_fails_as_reported_and_the_known_answer_cures_it(case: Reported) -> None:
    module = module_of(case)
    seen = watch(module.make_run())

    run = module.make_run()
    CURES[case.name](module, run)
    losses = list(train(run))
    assert finite(run, losses[-1])
    if case.name == "resumed":
        assert mean(losses[-30:]) < mean(losses[:5])  # it has learnt most of it before
    else:
        assert learns(losses)

    if SEES.get(case.name) == "stall":
        assert seen.sees is None and mean(seen.losses[-30:]) > 1.5 * mean(losses[-30:])
    else:
        assert seen.sees == SEES.get(case.name, "not finite")


UNSEEN = [case for case in FILES if case not in REPORTED]
CHEAP = {"churn_survival", "bf16_recommender", "insurance_claims", "bike_rental", "healthy_2"}
ids = [f"{case.kind}-{case.name}" for case in UNSEEN]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case.name in CHEAP else [pytest.mark.slow]) for case in UNSEEN], ids=ids
)
def test_an_unseen_program_fails_or_learns(case: Reported) -> None:
    run = module_of(case).make_run()
    if case.culprits:
        seen = watch(run)
        assert seen.sees is not None or not learns(seen.losses)
    else:
        losses = list(train(run))
        assert finite(run, losses[-1]) and mean(losses[-30:]) < mean(losses[:10])


def test_the_table_lists_all_files_and_known_classes() -> None:
    for kind in {case.kind for case in FILES}:
        files = {file.stem for file in (FOLDER / kind).glob("*.py")} - {"__init__"}
        assert {case.name for case in FILES if case.kind == kind} == files
    assert all(culprit in CULPRITS for case in FILES for culprit in case.culprits)
