"""Accelerate with gradient accumulation: python examples/accelerate_digits.py, or accelerate launch.

The lines to change are marked, beside the import of steadystep.
"""

from accelerate import Accelerator
from digits import accuracy, load, network
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import steadystep.integrations.accelerate

EPOCHS, ACCUMULATE = 10, 2

train, test = load()
accelerator = Accelerator(gradient_accumulation_steps=ACCUMULATE)
model = network()
optimizer = steadystep.AdamW(model.parameters(), lr=3e-3, clip=1.0)  # steadystep
loader = DataLoader(train, batch_size=16, shuffle=True)
scheduler = CosineAnnealingLR(optimizer, EPOCHS * len(loader) // ACCUMULATE)
model, optimizer, loader, scheduler = steadystep.integrations.accelerate.prepare(  # steadystep
    accelerator, model, optimizer, loader, scheduler
)

for _ in range(EPOCHS):
    for images, labels in loader:
        with accelerator.accumulate(model):
            accelerator.backward(cross_entropy(model(images), labels))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

ledger = optimizer.ledger
accelerator.print(f"{ledger['applied']} steps applied, {ledger['skipped']} skipped, {ledger['clip_rate']:.0%} clipped")
accelerator.print(f"test accuracy {accuracy(accelerator.unwrap_model(model).cpu(), test):.3f}")
