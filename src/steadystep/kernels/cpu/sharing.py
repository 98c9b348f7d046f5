"""The loop of every kernel: take a chunk that nobody has, work on it, until all are done."""

from steadystep.kernels.templates import lines

_LOOP = """
def kernel(counters, table, {arguments}):
    wide_vectors()
    taken, done = counters.ctypes.data, counters.ctypes.data + 8
    {before}
    while True:
        chunk = take_ticket(taken)
        if chunk >= len(table):
            break
        tensor, start, length = table[chunk]
        {each}
        take_ticket(done)
    while read_counter(done) < len(table):
        pass
"""


def shared_out(arguments: str, each: str, before: str = "") -> str:
    """The source of a kernel that threads share, as `Team.run` calls it.

    `each` is what is done to a chunk: `length` elements of tensor number `tensor` from element `start` on, being row
    `chunk` of the table. `before` is done once by every thread.
    """
    return _LOOP.format(arguments=arguments, before=lines(4, before.splitlines()), each=lines(8, each.splitlines()))
