# Autoencoder for gene expression (standardised, so predicting 0 would already give a loss of 1). The loss begins far
# above 1 and after the whole run it is still far above. PCA with 6 components explains 90 percent of the variance.
from types import SimpleNamespace

import torch
from torch import nn

GENES, FACTORS = 50, 6


def block(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, n_out), nn.Tanh())


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(block(GENES, 64), block(64, 64), block(64, 12))
        self.decoder = nn.Sequential(block(12, 64), block(64, 64), nn.Linear(64, GENES))
        self.reset_parameters()

    def reset_parameters(self):
        for p in self.parameters():
            nn.init.normal_(p)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def reconstruction_loss(model, x):
    return nn.functional.mse_loss(model(x), x)


def tissue_samples(n=300, bs=48, seed=38):
    g = torch.Generator().manual_seed(seed)
    loading = torch.randn(FACTORS, GENES, generator=g)
    loading = 0.95 * loading / loading.norm(dim=0)
    batches = []
    for _ in range(n):
        activity = torch.randn(bs, FACTORS, generator=g)
        batches.append(activity @ loading + 0.3 * torch.randn(bs, GENES, generator=g))
    return batches


def make_run():
    torch.manual_seed(38)
    model = AutoEncoder()
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        loss=reconstruction_loss,
        batches=tissue_samples(),
    )
