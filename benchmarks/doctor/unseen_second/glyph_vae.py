# VAE on small glyphs. Whatever I put in, the decoder gives the same grey average image; samples look the same too. The
# loss hardly moves. A plain autoencoder with the same layers reconstructs them well.
import torch
import torch.nn.functional as F
from torch import nn

SIDE, LATENT = 8, 4


class VAE(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.enc = nn.Linear(SIDE * SIDE, hidden)
        self.mu = nn.Linear(hidden, LATENT)
        self.logvar = nn.Linear(hidden, LATENT)
        self.dec = nn.Linear(LATENT, hidden)
        self.pixels = nn.Linear(hidden, SIDE * SIDE)
        for layer in (self.mu, self.logvar):  # start at the prior
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def forward(self, x):
        h = F.softplus(self.enc(x.flatten(1)))
        mu, logvar = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, logvar)
        x_hat = self.pixels(F.softplus(self.dec(z)))
        return x_hat.view_as(x), mu, logvar


def vae_loss(model, x):
    x_hat, mu, logvar = model(x)
    recon = F.mse_loss(x_hat, x)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return recon + kld


class Glyphs:
    """A bar and a dot at random places."""

    def __init__(self, n, bs=32):
        g = torch.Generator().manual_seed(56)
        line = torch.arange(SIDE).float()
        self.batches = []
        for _ in range(n):
            x0, dot_x, dot_y = (SIDE - 1) * torch.rand(3, bs, 1, 1, generator=g)
            bar = torch.exp(-((line.view(1, 1, -1) - x0) ** 2) / 2).expand(-1, SIDE, -1)
            distance = (line.view(1, 1, -1) - dot_x) ** 2 + (line.view(1, -1, 1) - dot_y) ** 2
            self.batches.append(bar + 2 * torch.exp(-distance / 4))
        mean = torch.cat(self.batches).mean(dim=0)
        self.batches = [glyphs - mean for glyphs in self.batches]


class Run:
    def __init__(self):
        torch.manual_seed(56)
        self.model = VAE()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.batches = Glyphs(300).batches
        self.loss = vae_loss


def make_run():
    return Run()
