"""A training loop by hand in mixed precision: python examples/amp_loop.py.

On a GPU it uses float16 and a GradScaler, whose scale the optimizer divides out before it clips. On a CPU it uses
bfloat16, which needs no scaler.
"""

import torch
from digits import accuracy, load, network
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import steadystep

EPOCHS = 10

device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.float16 if device == "cuda" else torch.bfloat16

train, test = load()
model = network().to(device)
optimizer = steadystep.AdamW(model.named_parameters(), lr=3e-3, clip=1.0)
loader = DataLoader(train, batch_size=32, shuffle=True)
scheduler = steadystep.skip_aware(CosineAnnealingLR(optimizer, EPOCHS * len(loader)))
scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)

for _ in range(EPOCHS):
    for images, labels in loader:
        optimizer.zero_grad()
        with torch.autocast(device, dtype):
            loss = cross_entropy(model(images.to(device)), labels.to(device))
        scaler.scale(loss).backward()
        scaler.step(optimizer)  # no unscale_ and no clip_grad_norm_: the step does both
        scaler.update()
        scheduler.step()

ledger = optimizer.ledger
print(f"{ledger['applied']} steps applied, {ledger['skipped']} skipped, {ledger['clip_rate']:.0%} clipped")
print(f"test accuracy {accuracy(model.cpu(), test):.3f}")
