"""DistributedDataParallel or FSDP2: torchrun --nproc-per-node 2 examples/distributed_digits.py [--sharded].

The optimizer needs no setting for either: all ranks measure one global norm and agree on each step.
"""

import sys

import torch
import torch.distributed as dist
from digits import load, network
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import steadystep

EPOCHS = 10

backend = "nccl" if torch.cuda.is_available() else "gloo"
dist.init_process_group(backend)
device = torch.device("cuda", dist.get_rank()) if backend == "nccl" else torch.device("cpu")

train, test = load()
model = network().to(device)
if "--sharded" in sys.argv:
    mesh = dist.init_device_mesh(device.type, (dist.get_world_size(),))
    model = fully_shard(model, mesh=mesh)
else:
    model = DistributedDataParallel(model)
optimizer = steadystep.AdamW(model.parameters(), lr=3e-3, clip=1.0)
optimizer.name_parameters(model)
sampler = DistributedSampler(train)
loader = DataLoader(train, batch_size=16, sampler=sampler)

for epoch in range(EPOCHS):
    sampler.set_epoch(epoch)
    for images, labels in loader:
        optimizer.zero_grad()
        cross_entropy(model(images.to(device)), labels.to(device)).backward()
        optimizer.step()

with torch.no_grad():
    images, labels = (tensor.to(device) for tensor in test.tensors)
    accuracy = float((model(images).argmax(1) == labels).float().mean())
if dist.get_rank() == 0:
    ledger = optimizer.ledger
    print(f"{ledger['applied']} steps applied, {ledger['skipped']} skipped, norm {ledger['norm_before']:.3f}")
    print(f"test accuracy {accuracy:.3f}")
dist.destroy_process_group()
