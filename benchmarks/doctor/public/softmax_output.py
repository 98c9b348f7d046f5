# Beginner question: my digit classifier is stuck, the loss never gets below ~1.5 whatever I do.
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits


class DigitClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(64, 32)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(32, 10)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        return self.softmax(self.fc2(x))


criterion = nn.CrossEntropyLoss()


def loss(model, batch):
    images, labels = batch
    outputs = model(images)
    return criterion(outputs, labels)


class Run:
    def __init__(self):
        torch.manual_seed(0)
        self.model = DigitClassifier()
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.003)
        self.loss = loss
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32) / 16.0  # type: ignore
        labels = torch.tensor(digits.target, dtype=torch.long)  # type: ignore
        self.batches = []
        for _ in range(6):
            for idx in torch.randperm(len(images)).split(32):
                self.batches.append((images[idx], labels[idx]))
        self.batches = self.batches[:300]


def make_run():
    return Run()
