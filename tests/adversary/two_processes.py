"""One of two gloo processes: ``python two_processes.py RANK STORE OUT`` trains half of each step's batch under DDP.

Writes {method: {parameter: gradient}} to OUT. The averaged gradients must be those of one process with the whole batch.
"""

import sys

import torch
from adversaries import OBJECTIVES, OPTIONS, Adversary, Toy, make_batch, pick, run
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

if __name__ == "__main__":
    rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = {}
    for adversary in map(Adversary.read, OPTIONS):
        torch.manual_seed(2)
        model = DistributedDataParallel(Toy())
        first = 8 * rank
        pieces = [pick(make_batch(), rows) for rows in (range(first, first + 3), range(first + 3, first + 8))]
        gradients = run(adversary, model, OBJECTIVES["classification"], pieces, world_items=16, processes=2).gradients
        found[adversary.name] = {name.removeprefix("module."): value for name, value in gradients.items()}
    torch.save(found, out)
    distributed.destroy_process_group()
