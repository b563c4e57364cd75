"""Chunks of draws side by side on a CPU's cores: small networks gain more from it than from threads inside each operation."""

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np
import torch

from validation.montecarlo.sampler import Sampler
from validation.runtime.workers import one_thread_each

__all__ = ["squares_in_order"]

Array = np.ndarray[Any, Any]


def squares_in_order(sampler: Sampler, chunks: Iterable[range], batched: bool) -> Generator[tuple[range, Array], None, None]:
    """`sampler.squares` of each chunk, in order; on as many threads as torch has, where the sampler can be copied.

    An interrupt, or leaving early, waits for the chunks under way and drops them.
    """
    count = torch.get_num_threads() if batched and sampler.device.type == "cpu" else 1
    if count == 1 or not sampler.can_be_copied:
        yield from ((chunk, sampler.squares(chunk, batched)) for chunk in chunks)
        return
    with one_thread_each(), ThreadPoolExecutor(count) as pool:
        samplers = [sampler, *(sampler.twin() for _ in range(count - 1))]
        waiting: list[tuple[range, Future[Array]]] = []
        busy: dict[Sampler, Future[Array]] = {}
        try:
            for chunk, each in zip(chunks, cycle(samplers)):
                if each in busy:  # a sampler draws into memory of its own, one chunk at a time
                    yield waiting[0][0], waiting[0][1].result()
                    waiting.pop(0)
                busy[each] = pool.submit(each.squares, chunk, batched)
                waiting.append((chunk, busy[each]))
            for chunk, future in waiting:
                yield chunk, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
