"""Small runs that go wrong, one for each way to, and the same runs without the fault."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Batch = Any
Run = Any


def classifier(batches: int = 60, **attributes: Any) -> SimpleNamespace:
    """Return a sound run: a small classifier of 20 numbers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(batches * 16, 20)
    y = x[:, :4].argmax(1)
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        loss=lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
        batches=list(zip(x.clone().split(16), y.clone().split(16), strict=True)),
        **attributes,
    )


def regression() -> SimpleNamespace:
    """Return a sound run: a product of two inputs, with squared errors."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    x = torch.randn(1600, 10)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.02),
        loss=lambda model, batch: functional.mse_loss(model(batch[0]), batch[1]),
        batches=list(zip(x.clone().split(16), y.clone().split(16), strict=True)),
    )


def a_nan_in_the_data() -> Run:
    run = classifier()
    run.batches[23][0][5, 2] = torch.nan
    return run


def no_label_left() -> Run:
    run = classifier()
    run.batches[19][1][:] = -100
    return run


def all_labels_ignored() -> Run:
    run = classifier()
    for _, labels in run.batches:
        labels[:] = -100
    return run


class Attention(nn.Module):
    """Attention that drops what is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.score, self.head = nn.Embedding(20, 16), nn.Linear(16, 1), nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(tokens)
        scores = self.score(embedded).squeeze(-1).masked_fill(tokens == 0, -torch.inf)
        return self.head((scores.softmax(-1)[:, None] @ embedded).squeeze(1))


def _attention(padded: Callable[[int], bool]) -> Run:
    torch.manual_seed(0)
    model, batches = Attention(), []
    for index in range(60):
        tokens = torch.randint(1, 20, (8, 6))
        labels = (tokens[:, 0] > 10).long()
        if padded(index):
            tokens[3] = 0
        batches.append({"tokens": tokens, "labels": labels})
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        loss=lambda model, batch: functional.cross_entropy(model(batch["tokens"]), batch["labels"]),
        batches=batches,
    )


def one_sequence_of_padding() -> Run:
    return _attention(lambda index: index == 27)


def padding_in_every_batch() -> Run:
    return _attention(lambda index: index >= 27)


def a_target_longer_than_its_input() -> Run:
    torch.manual_seed(0)
    model, loss, batches = nn.Linear(8, 6), nn.CTCLoss(), []
    for index in range(40):
        lengths, targets = torch.full((6,), 12), torch.randint(1, 6, (6, 5))
        lengths[2] = 4 if index == 17 else 12
        batches.append((torch.randn(6, 12, 8), targets, lengths, torch.full((6,), 5)))
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        loss=lambda model, batch: loss(model(batch[0]).log_softmax(-1).transpose(0, 1), *batch[1:]),
        batches=batches,
    )


def a_distance_of_zero() -> Run:
    run = regression()
    encoder = run.model

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        distance = (model(batch[0]) - model(batch[1])).square().sum(1).sqrt()
        return (distance - batch[2]).square().mean()

    batches = [(x, x + torch.randn_like(x), y[:, 0].abs()) for x, y in run.batches]
    batches[31][1][4] = batches[31][0][4]
    return SimpleNamespace(model=encoder, optimizer=run.optimizer, loss=loss, batches=batches)


class Narrow(nn.Module):
    """A feed-forward layer in float16 with a squared activation."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(20, 32).half(), nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.inner(x.half()).relu() ** 2).float())


def beyond_float16() -> Run:
    run = classifier()
    torch.manual_seed(0)
    run.model = Narrow()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=1e-3, eps=1e-4)
    for inputs, _ in run.batches[25:]:
        inputs.mul_(300)
    return run


def eps_below_float16() -> Run:
    run = classifier()
    run.model.half()
    run.batches = [(x.half(), y) for x, y in run.batches]
    run.loss = lambda model, batch: functional.cross_entropy(model(batch[0]).float(), batch[1])
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=1e-3)
    return run


def _step(run: Run, batch: Batch) -> float:
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    run.optimizer.step()
    return float(loss.detach())


def moments_lost_on_the_way() -> Run:
    run = classifier(200, count=0)
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-2)

    def step(run: Run, batch: Batch) -> float:
        if run.count == 120:
            for entry in run.optimizer.state.values():
                entry["exp_avg_sq"].zero_()
        run.count += 1
        return _step(run, batch)

    run.step = step
    return run


def moments_not_restored() -> Run:
    run = classifier()
    for batch in run.batches * 6:
        _step(run, batch)
    for entry in run.optimizer.state.values():
        entry["exp_avg_sq"].zero_()
    return run


def too_large_a_rate() -> Run:
    run = classifier()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=30.0)
    return run


def a_rate_that_jumps() -> Run:
    run = classifier(100)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    run.scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: 1.0 if step < 70 else 300.0)
    return run


def a_rare_target() -> Run:
    run = regression()
    run.batches[67][1][4] = 3000.0
    return run


def clipped_before_unscaling() -> Run:
    run = classifier(150)
    optimizer, scaler = torch.optim.SGD(run.model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")

    def step(run: Run, batch: Batch) -> float:
        optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    run.optimizer, run.step = optimizer, step
    return run


def never_set_to_zero() -> Run:
    run = classifier()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)

    def step(run: Run, batch: Batch) -> float:
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        return loss.item()

    run.step = step
    return run


def dead_units() -> Run:
    run = classifier()
    with torch.no_grad():
        run.model[0].bias.fill_(-50.0)
    return run


def softmax_twice() -> Run:
    run = classifier()
    run.model.append(nn.Softmax(dim=1))
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)
    return run


def likelihood_of_probabilities() -> Run:
    run = classifier()
    run.loss = lambda model, batch: functional.nll_loss(model(batch[0]).softmax(1), batch[1])
    return run


def shapes_that_broadcast() -> Run:
    run = regression()
    run.batches = [(x, y[:, 0]) for x, y in run.batches]
    return run


def a_cut_graph() -> Run:
    run = regression()
    run.loss = lambda model, batch: functional.mse_loss(model[2](torch.relu(model[0](batch[0])).detach()), batch[1])
    return run


HIDDEN = {"struck": False}


class Struck(nn.Linear):
    """A layer one of whose weights changes once, by nothing that the run does."""

    steps = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        Struck.steps += 1
        if Struck.steps == 50 and not HIDDEN["struck"]:
            HIDDEN["struck"] = True
            with torch.no_grad():
                self.weight[0, 0] = 1e38
        return super().forward(input)


def a_flipped_bit() -> Run:
    run = classifier()
    HIDDEN["struck"], Struck.steps = False, 0
    torch.manual_seed(1)
    run.model = nn.Sequential(Struck(20, 32), nn.ReLU(), nn.Linear(32, 4))
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)
    return run


def a_scale_by_hand_beyond_float16() -> Run:
    """Return a run that multiplies its loss by 2^18, so that its gradients leave the range of float16."""
    run = regression()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", torch.float16):
            predicted = model(batch[0])
        return functional.mse_loss(predicted.float(), 20 * batch[1])

    def step(run: Run, batch: Batch) -> float:
        run.optimizer.zero_grad()
        value = run.loss(run.model, batch)
        (value * 2.0**18).backward()
        for parameter in run.model.parameters():
            assert parameter.grad is not None
            parameter.grad /= 2.0**18
        run.optimizer.step()
        return value.item()

    run.loss, run.step = loss, step
    return run


def updates_that_bfloat16_loses() -> Run:
    """Return a run of which float32 would learn slowly, and bfloat16 learns nothing."""
    run = regression()
    for layer in (run.model[0], run.model[2]):
        nn.init.normal_(layer.weight)
    run.model.to(torch.bfloat16)
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=1e-3)
    run.loss = lambda model, batch: functional.mse_loss(model(batch[0].bfloat16()).float(), batch[1])
    return run


def moments_of_scaled_gradients() -> Run:
    """Return a run that goes on with the second moments of gradients that were 65,536 times as large."""
    run = classifier()
    for batch in run.batches[:20]:
        _step(run, batch)
    for entry in run.optimizer.state.values():
        entry["exp_avg_sq"] *= 2.0**32
    return run


def a_warm_up_without_an_end() -> Run:
    run = regression()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.02, momentum=0.9)
    run.scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: (step + 1) / 10)
    return run


def _clipping(run: Run, parameters: Callable[[Run], Any], late: bool = False) -> Run:
    """Give a run whose rate is too large without clipping a step that clips some parameters, or too early."""
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.3, momentum=0.9)

    def step(run: Run, batch: Batch) -> float:
        run.optimizer.zero_grad()
        first, second = ([part[rows] for part in batch] for rows in (slice(0, 8), slice(8, 16)))
        value = 50 * run.loss(run.model, first)
        value.backward()
        if late:
            nn.utils.clip_grad_norm_(parameters(run), 0.1)
        (50 * run.loss(run.model, second)).backward()
        if not late:
            nn.utils.clip_grad_norm_(parameters(run), 0.1)
        run.optimizer.step()
        return value.item()

    run.step = step
    return run


def clipped_on_a_copy() -> Run:
    run = regression()
    run.average = copy.deepcopy(run.model)
    return _clipping(run, lambda run: run.average.parameters())


def clipped_before_the_last_backward() -> Run:
    return _clipping(regression(), lambda run: run.model.parameters(), late=True)


def micro_batches(divided: bool = False) -> Run:
    """Return a run whose step adds the gradients of 16 examples, or averages them."""
    run = regression()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.05, momentum=0.9)

    def step(run: Run, batch: Batch) -> float:
        run.optimizer.zero_grad()
        total = 0.0
        for example in zip(*(part.split(1) for part in batch), strict=True):
            value = run.loss(run.model, example)
            (value / 16 if divided else value).backward()
            total += value.item()
        run.optimizer.step()
        return total / 16

    run.step = step
    return run


def clipped_after_the_step() -> Run:
    run = regression()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=1.5, momentum=0.9)

    def step(run: Run, batch: Batch) -> float:
        run.optimizer.zero_grad()
        value = run.loss(run.model, batch)
        value.backward()
        run.optimizer.step()
        nn.utils.clip_grad_norm_(run.model.parameters(), 0.05)
        return value.item()

    run.step = step
    return run


def a_sum_that_is_run_back_again_and_again() -> Run:
    run = regression()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.03, momentum=0.9)

    def step(run: Run, batch: Batch) -> float:
        run.optimizer.zero_grad()
        total = torch.zeros(())
        for part in zip(*(part.split(4) for part in batch), strict=True):
            total = total + run.loss(run.model, part) / 1.0
            total.backward(retain_graph=True)
        run.optimizer.step()
        return total.item() / 4

    run.step = step
    return run


def gradients_below_float16() -> Run:
    """Return a run whose gradients are 0 in float16, because its loss is weighted with 1e-9."""
    run = regression()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3, eps=1e-12)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", torch.float16):
            predicted = model(batch[0])
        return 1e-9 * functional.mse_loss(predicted.float(), batch[1])

    run.loss = loss
    return run


def gradients_far_below_eps() -> Run:
    run = regression()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)
    run.loss = lambda model, batch: 1e-13 * functional.mse_loss(model(batch[0]), batch[1])
    return run


class Lookahead(torch.optim.SGD):
    """SGD that is pulled back to slow weights every six steps."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr=lr, momentum=0.9)
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["slow"] = parameter.detach().clone()
        self.param_groups[0]["count"] = 0

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        super().step(closure)
        group = self.param_groups[0]
        group["count"] += 1
        if group["count"] % 6 == 0:
            for parameter in group["params"]:
                slow = self.state[parameter]["slow"]
                slow.lerp_(parameter.detach(), 0.5)
                parameter.data.copy_(slow)


def slow_weights_of_another_run() -> Run:
    run = classifier()
    for _ in range(5):
        for batch in run.batches:
            _step(run, batch)
    trained = copy.deepcopy(run.model.state_dict())
    for parameter in run.model.parameters():
        nn.init.normal_(parameter)
    run.optimizer = Lookahead(run.model.parameters(), lr=0.01)
    run.model.load_state_dict(trained)
    return run


def a_rate_too_large_to_learn() -> Run:
    """Return a run that neither diverges nor learns: with Adam's rate, a small network only jumps about."""
    run = classifier()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=1.0)
    run.model.append(nn.Tanh())
    return run


def weights_far_too_large() -> Run:
    run = classifier()
    run.model = nn.Sequential(
        *(module for _ in range(3) for module in (nn.Linear(20, 20), nn.Tanh())), nn.Linear(20, 4)
    )
    for parameter in run.model.parameters():
        nn.init.normal_(parameter, std=4.0)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.05)
    return run


FAILURES: tuple[tuple[Callable[[], Run], str, str], ...] = (
    (a_nan_in_the_data, "batch", "example 5 of batch 23"),
    (no_label_left, "batch", "batch 19"),
    (one_sequence_of_padding, "batch", "example 3 of batch 27"),
    (a_target_longer_than_its_input, "batch", "example 2 of batch 17"),
    (padding_in_every_batch, "forward-op", "softmax"),
    (a_distance_of_zero, "backward-op", "sqrt"),
    (beyond_float16, "range", "pow"),
    (a_scale_by_hand_beyond_float16, "range", "float"),
    (gradients_below_float16, "range", "linear"),
    (eps_below_float16, "optimizer-precision", "eps"),
    (gradients_far_below_eps, "optimizer-precision", "eps"),
    (updates_that_bfloat16_loses, "optimizer-precision", "bfloat16"),
    (moments_lost_on_the_way, "optimizer-state", "exp_avg_sq"),
    (moments_not_restored, "optimizer-state", "exp_avg_sq"),
    (slow_weights_of_another_run, "optimizer-state", "slow"),
    (moments_of_scaled_gradients, "optimizer-state", "exp_avg_sq"),
    (too_large_a_rate, "learning-rate", "lr"),
    (a_rate_that_jumps, "learning-rate", "lr"),
    (a_rate_too_large_to_learn, "learning-rate", "lr"),
    (a_warm_up_without_an_end, "learning-rate", "lr"),
    (a_rare_target, "outlier-gradient", "example 4 of batch 67"),
    (clipped_before_unscaling, "clip-order", "unscale_"),
    (clipped_after_the_step, "clip-order", "clip_grad_norm_"),
    (clipped_on_a_copy, "clip-order", "clip_grad_norm_"),
    (clipped_before_the_last_backward, "clip-order", "clip_grad_norm_"),
    (never_set_to_zero, "accumulation", "zero_grad"),
    (micro_batches, "accumulation", "micro-batches"),
    (a_sum_that_is_run_back_again_and_again, "accumulation", "micro-batches"),
    (dead_units, "initialisation", "0"),
    (weights_far_too_large, "initialisation", ""),
    (softmax_twice, "wrong-loss", "softmax"),
    (likelihood_of_probabilities, "wrong-loss", "nll_loss"),
    (shapes_that_broadcast, "wrong-loss", "mse_loss"),
    (a_cut_graph, "wrong-loss", "detach"),
    (a_flipped_bit, "transient", "step"),
)
"""A run, the culprit, and a part of the place. `all_labels_ignored` has no fix that a replay can show."""
