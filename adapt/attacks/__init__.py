"""The attacks that measure robustness: one file each over a ball and callables, their ensemble, and its checks."""
