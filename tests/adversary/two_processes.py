"""One of two gloo processes: ``python two_processes.py RANK STORE CASES OUT`` runs half of each case under DDP.

CASES: a pickle of this test run's own, a list of axes.Case. Writes the gradients of each, in order, to OUT.
"""

import pickle
import sys
from pathlib import Path

import torch
from axes import step_of
from torch import distributed

if __name__ == "__main__":
    rank, store, cases, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.save([step_of(case, rank).gradients for case in pickle.loads(cases.read_bytes())], out)
    distributed.destroy_process_group()
