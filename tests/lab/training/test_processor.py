"""The CPU settings of threads that run trials, and the restoration of the previous settings."""

import multiprocessing

import torch

from steadystep.lab.training.processor import apply_cpu_settings, cpu_settings, flushes_denormals


def test_the_previous_settings_are_restored() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with cpu_settings():
        assert (torch.get_num_threads(), flushes_denormals()) == (1, True)
        assert torch.tensor([1e-20]).square().item() == 0.0
    assert (torch.get_num_threads(), flushes_denormals()) == (2, False)
    torch.set_flush_denormal(True)
    with cpu_settings():
        pass
    assert flushes_denormals()
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)


def test_a_worker_uses_the_same_settings() -> None:
    with multiprocessing.get_context("spawn").Pool(1, apply_cpu_settings) as pool:
        assert pool.apply(flushes_denormals) and pool.apply(torch.get_num_threads) == 1
