"""How threads compute in which trials run, and that a process has its own way back afterwards."""

import multiprocessing

import torch

from steadystep.lab.training.processor import compute_alike, computing_alike, flushes


def test_a_process_has_its_own_way_back() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with computing_alike():
        assert (torch.get_num_threads(), flushes()) == (1, True)
        assert torch.tensor([1e-20]).square().item() == 0.0
    assert (torch.get_num_threads(), flushes()) == (2, False)
    torch.set_flush_denormal(True)
    with computing_alike():
        pass
    assert flushes()
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)


def test_a_worker_computes_in_the_same_way() -> None:
    with multiprocessing.get_context("spawn").Pool(1, compute_alike) as pool:
        assert pool.apply(flushes) and pool.apply(torch.get_num_threads) == 1
