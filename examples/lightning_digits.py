"""Lightning: python examples/lightning_digits.py. The lines to change are marked, beside the import of steadystep."""

import torch
from digits import accuracy, load, network
from lightning.pytorch import LightningModule, Trainer
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import steadystep.integrations.lightning

EPOCHS = 10


class Digits(LightningModule):
    """An MLP for the digits."""

    def __init__(self) -> None:
        """Make the network."""
        super().__init__()
        self.network = network()

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        return cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> dict[str, object]:
        """Return the optimizer, and a schedule that moves after every applied step."""
        optimizer = steadystep.AdamW(self.parameters(), lr=3e-3, clip=1.0)  # steadystep
        scheduler = CosineAnnealingLR(optimizer, EPOCHS * 45)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


train, test = load()
model = Digits()
trainer = Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    callbacks=[steadystep.integrations.lightning.SteadyCallback()],  # steadystep
    enable_checkpointing=False,
    enable_progress_bar=False,
    logger=False,
)
trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True))
print({name: float(value) for name, value in trainer.callback_metrics.items() if "norm/" not in name})
print(f"test accuracy {accuracy(model.network, test):.3f}")
