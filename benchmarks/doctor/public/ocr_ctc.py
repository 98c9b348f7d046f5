# Line OCR with CTC: loss goes to inf at one point of the epoch, then everything is nan.
# zero_infinity=True hides it, but I would like to know what is wrong.
import torch
from torch import nn

CHARS = 6  # 0 is the blank
FEAT = 8


class LineReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(FEAT, 32, kernel_size=3, stride=2, padding=1)
        self.rnn = nn.GRU(32, 24, bidirectional=True, batch_first=True)
        self.proj = nn.Linear(48, CHARS)

    def forward(self, x):
        h = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        h, _ = self.rnn(h)
        return self.proj(h).log_softmax(-1)


class LineDataset:
    """Synthetic text lines: every character is 4 to 6 columns wide."""

    def __init__(self, n_batches=260, bs=6, seed=11):
        gen = torch.Generator().manual_seed(seed)
        patterns = torch.randn(CHARS, FEAT, generator=gen)
        self.items = []
        for b in range(n_batches):
            lines, texts = [], []
            for i in range(bs):
                n = int(torch.randint(2, 5, (1,), generator=gen))
                text = torch.randint(1, CHARS, (n,), generator=gen)
                width = 5 if not (b == 47 and i == 2) else 1  # a crop of this page went wrong
                cols = patterns[text].repeat_interleave(width, 0)
                lines.append(cols + 0.3 * torch.randn(cols.shape, generator=gen))
                texts.append(text)
            widths = torch.tensor([len(line) for line in lines])
            self.items.append(
                {
                    "image": nn.utils.rnn.pad_sequence(lines, batch_first=True),
                    "width": widths,
                    "text": nn.utils.rnn.pad_sequence(texts, batch_first=True),
                    "text_len": torch.tensor([len(text) for text in texts]),
                }
            )

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


ctc = nn.CTCLoss(blank=0)


def ctc_loss(model, batch):
    log_probs = model(batch["image"]).transpose(0, 1)
    # the conv halves the width
    input_lengths = (batch["width"] + 1) // 2
    return ctc(log_probs, batch["text"], input_lengths, batch["text_len"])


class Run:
    def __init__(self):
        torch.manual_seed(5)
        self.model = LineReader()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=4e-3)
        self.batches = LineDataset()
        self.loss = ctc_loss


def make_run():
    return Run()
