# Keyword spotting on log spectrograms. Learns well, then from one iteration to the next the loss is nan and it never
# comes back. Without shuffling it is always the same iteration. Tried lr / 10 and another optimizer: the same.
import torch
import torch.nn.functional as F
from torch import nn

SAMPLES, FRAME, HOP = 512, 64, 32
N_WORDS, BS = 4, 16


class SeparableConv(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.depthwise = nn.Conv2d(c_in, c_in, 3, padding=1, groups=c_in)
        self.pointwise = nn.Conv2d(c_in, c_out, 1)
        self.norm = nn.GroupNorm(2, c_out)

    def forward(self, x):
        return F.relu(self.norm(self.pointwise(self.depthwise(x))))


class KeywordNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SeparableConv(1, 8)
        self.conv2 = SeparableConv(8, 16)
        self.classifier = nn.Linear(16, N_WORDS)

    def forward(self, spec):
        h = F.max_pool2d(self.conv1(spec), 2)
        h = F.max_pool2d(self.conv2(h), 2)
        return self.classifier(h.amax(dim=(2, 3)))


class SpeechFolder:
    """Stands for our folder of wav files: chirps with noise, each speaker with another volume."""

    start = torch.tensor([0.05, 0.10, 0.30, 0.40])
    stop = torch.tensor([0.30, 0.05, 0.10, 0.42])

    def read_wav(self, number):
        g = torch.Generator().manual_seed(700_000 + number)
        word = int(torch.randint(0, N_WORDS, (1,), generator=g))
        t = torch.arange(SAMPLES)
        freq = self.start[word] + (self.stop[word] - self.start[word]) * t / SAMPLES
        volume = 10 ** (-3 * torch.rand(1, generator=g))
        wave = volume * (torch.sin(6.2832 * freq.cumsum(0)) + 0.5 * torch.randn(SAMPLES, generator=g))
        if number == 1333:
            wave = torch.zeros(SAMPLES)  # here the microphone was switched off
        return wave, word

    def __getitem__(self, number):
        wave, word = self.read_wav(number)
        wave = wave / wave.abs().max()
        frames = wave.unfold(0, FRAME, HOP) * torch.hann_window(FRAME)
        power = torch.fft.rfft(frames).abs() ** 2
        return torch.log(power + 1e-4).unsqueeze(0), word


class Run:
    def __init__(self):
        torch.manual_seed(70)
        self.model = KeywordNet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.data = SpeechFolder()

    def batch(self, index):
        specs, words = zip(*(self.data[index * BS + i] for i in range(BS)), strict=True)
        return torch.stack(specs), torch.tensor(words)

    def loss(self, model, batch):
        spec, word = batch
        return F.cross_entropy(model(spec), word)


def make_run():
    return Run()
