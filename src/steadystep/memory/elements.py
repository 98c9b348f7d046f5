"""Whether a tensor has elements at all: those on the meta device and fake ones only have a shape."""

import torch

from steadystep.memory.access import owns_memory


def check_elements(tensor: torch.Tensor, name: str) -> None:
    """Raise an error if a tensor has no elements that could be read.

    Raises:
        RuntimeError: naming the tensor, by `name`, its type and its device.
    """
    if owns_memory(tensor):
        return
    fake = hasattr(tensor, "fake_mode")
    if fake or tensor.device.type == "meta":
        kind = f"a {type(tensor).__name__} for {tensor.device}" if fake else f"on the device {tensor.device}"
        raise RuntimeError(
            f"{name} is {kind}: it has a shape and no elements, and a step needs them. Give the model its memory, with "
            'model.to_empty(device="cpu") for example, before its gradients are computed'
        )
