# Training in pure fp16 to fit the model on our device. First loss is ok, second one is nan???
# The gradients are all finite, I checked.
import torch
from sklearn.datasets import load_digits
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Experiment:
    def __init__(self, batch_size=64):
        torch.manual_seed(42)
        self.model = Net().half()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.criterion = nn.CrossEntropyLoss()
        digits = load_digits()
        x = torch.tensor(digits.data / 16.0).half()  # type: ignore
        y = torch.tensor(digits.target)  # type: ignore
        self.batches = []
        for _ in range(8):  # epochs
            order = torch.randperm(len(x))
            self.batches += [(x[i], y[i]) for i in order.split(batch_size)]

    def loss(self, model, batch):
        x, y = batch
        out = model(x)
        return self.criterion(out.float(), y)


def make_run():
    return Experiment()
