# Relative camera rotation between two video frames, geodesic loss (the angle, in rad). The loss is finite in every
# iteration including the last good one, then all weights are nan. The videos were converted from 25 to 30 fps.
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

N_LANDMARKS = 12


class RelativePose(nn.Module):
    """Siamese: the difference of the features of both frames gives the rotation (6D representation)."""

    def __init__(self, dim=48):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2 * N_LANDMARKS, dim), nn.Mish(), nn.Linear(dim, dim), nn.Mish())
        self.regress = nn.Linear(dim, 6, bias=False)

    def forward(self, frame_a, frame_b):
        delta = self.regress(self.encoder(frame_b) - self.encoder(frame_a))
        eye = torch.eye(3, dtype=delta.dtype)
        x = F.normalize(eye[0] + delta[:, :3], dim=1)
        y = eye[1] + delta[:, 3:]
        y = F.normalize(y - (x * y).sum(1, keepdim=True) * x, dim=1)
        return torch.stack([x, y, torch.linalg.cross(x, y)], dim=1)


def geodesic_distance(R1, R2):
    trace = (R1 * R2).sum(dim=(1, 2))
    cos = ((trace - 1) / 2).clamp(-1.0, 1.0)  # rounding errors
    return torch.acos(cos)


def pose_loss(model, batch):
    R = model(batch["frame_a"], batch["frame_b"])
    return geodesic_distance(R, batch["R"]).mean()


def random_rotation(n, size, g):
    A = size * torch.randn(n, 3, 3, generator=g)
    return torch.linalg.matrix_exp(A - A.transpose(1, 2))


def video_pairs(n=300, bs=24, seed=36):
    g = torch.Generator().manual_seed(seed)
    landmarks = torch.randn(N_LANDMARKS, 3, generator=g)
    batches = []
    for _ in range(n):
        pose_a = random_rotation(bs, 0.2, g)
        turn = random_rotation(bs, 0.25, g)
        repeated = torch.rand(bs, generator=g) < 0.002  # the converter shows some frames twice
        turn[repeated] = torch.eye(3)
        pose_b = turn @ pose_a
        project = [(landmarks @ pose.transpose(1, 2))[..., :2].flatten(1) for pose in (pose_a, pose_b)]
        project[1][repeated] = project[0][repeated]
        batches.append({"frame_a": project[0], "frame_b": project[1], "R": turn})
    return batches


def make_run():
    torch.manual_seed(36)
    model = RelativePose()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=pose_loss, batches=video_pairs())
