"""Compile kernels for an NVIDIA device, which need not be present, and print their instruction counts as JSON.

The arguments are the compute capability, such as 90, and the dtypes of the parameters; "--adam" compiles only Adam.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cases import OPTIMIZERS
from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.norms import GradNorms
from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.codegen import Equation
from steadystep.kernels.cuda.chunks import BLOCK, CHUNK
from steadystep.kernels.cuda.graph_kernel import kernel_of
from steadystep.kernels.cuda.intrinsics import STORED
from steadystep.kernels.cuda.norm_kernel import add_chunks, collect_chunks, measure_chunks
from steadystep.kernels.cuda.runtime import WARPS
from steadystep.kernels.cuda.update_kernel import CONSTANTS, rms_kernel, sums_kernel, update_kernel
from steadystep.optimizers.hyperparameters import Hyperparameters
from steadystep.tracing.graph import Graph

WORDS = ("table", "columns", "gradients", "spans", "addresses", "arguments")
SIZES = {"ALIGNED": True, "CHUNK": CHUNK, "BLOCK": BLOCK}
COUNTED = {
    "fused": r"\bfma\.",
    "approximate": r"\.approx|div\.full",
    "flushing": r"\.ftz",
    "atomic": r"\b(atom|red)\.",
    "wide": r"\bld\.global\S*\.v[24]\.",
}


def equations(names: Sequence[str]) -> dict[Equation, str]:
    """Return the equations of the rules in the table of optimizers, each with its name."""
    named = {}
    for case in OPTIMIZERS:
        optimizer = case.make([torch.zeros(1, requires_grad=True)])
        rule = optimizer.rule(optimizer.param_groups[0])
        if not names or case.name in names:
            module = rule.update.__module__.rpartition(".")[2]
            named[Equation(rule.update, rule.sums, len(rule.slots))] = f"{module}.{rule.update.__name__}"
    return named


def decisions(names: Sequence[str]) -> Iterator[tuple[str, Graph]]:
    """Yield, for every rule, a name and the graph that computes the scalars of one step with ClipNorm."""
    sizes, clock, place = torch.zeros(161, dtype=torch.float64), torch.zeros(()), torch.zeros(16, dtype=torch.float64)
    for case in OPTIMIZERS:
        if names and case.name not in names:
            continue
        optimizer = case.make([torch.zeros(1, requires_grad=True)])
        group = optimizer.param_groups[0]
        rule, graph, values = optimizer.rule(group), Graph(), Hyperparameters(group)
        values.graph = graph
        t = graph.load(clock) + 1
        values.counters = {name: graph.load(place, number) for number, name in enumerate(rule.counters)}
        values.counters = rule.advanced(t, values)
        norms = graph.load_all(sizes)
        choice = ClipNorm(1.0).decide(GradNorms(norms, norms, GradientSet()), {})
        numbers = [t, choice.clipped, *rule.coefficients(t, values).values(), *values.counters.values()]
        for entry, number in enumerate(numbers):
            graph.store(place, number, entry)
        yield f"decide {case}", graph


def kernels(kind: str, names: Sequence[str]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Yield the name, function and constants of each kernel for parameters of one dtype."""
    yield "measure", measure_chunks, {"KIND": STORED[kind], **SIZES}
    yield "collect", collect_chunks, {"BLOCK": 128}
    yield "add", add_chunks, {"TERMS": 2, "BLOCK": 128}
    for name, graph in decisions(names) if kind == "float32" else ():
        yield name, kernel_of(graph), {"BLOCK": 256}
    dtype = getattr(torch, kind)
    constants = {**dict.fromkeys(CONSTANTS, 1), "GRAD": STORED[kind], **SIZES}
    for equation, name in equations(names).items():
        absent = {"limits": None} if equation.factors else {"limits": None, "per_tensor": None}
        yield f"{name} update", update_kernel(equation, dtype, False), constants | absent
        limited = {**constants, **absent, "before": None}
        del limited["limits"]
        yield f"{name} limited", update_kernel(equation, dtype, True), limited
        for start in (True, False):
            yield f"{name} move from {'0' if start else 'p'}", rms_kernel(equation, dtype, start), constants | absent
        if equation.sums is not None:
            yield (
                f"{name} sums",
                sums_kernel(equation, dtype),
                constants | absent | {"per_tensor": None, "ALIGNED": False},
            )


def signature(name: str, function: Any, constants: Mapping[str, Any]) -> dict[str, str]:
    verdict = {"result": "*i1"} if name.endswith((" update", " limited")) else {}
    kinds = {"tensors": "i32", "length": "i32", **dict.fromkeys(WORDS, "*i64"), **verdict}
    return {name: "constexpr" if name in constants else kinds.get(name, "*fp64") for name in function.arg_names}


def main(capability: int, kinds: Sequence[str], names: Sequence[str]) -> None:
    done = {}
    for kind in kinds:
        for name, function, constants in kernels(kind, names):
            compiled = triton.compile(
                ASTSource(function, signature(name, function, constants), constants),
                target=GPUTarget("cuda", capability, 32),
                options={"num_warps": WARPS, "enable_fp_fusion": False},
            )
            ptx = compiled.asm["ptx"]
            counts = {what: len(re.findall(pattern, ptx)) for what, pattern in COUNTED.items()}
            done[f"{kind} {name}"] = {"bytes": len(compiled.asm["cubin"]), **counts}
    print(json.dumps(done))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--adam"]
    main(int(arguments[0]), arguments[1:], ["Adam"] if "--adam" in sys.argv else [])
