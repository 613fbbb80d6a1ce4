"""The attacks that measure robustness: each is a file that sees a ball and callables; their ensemble; its checks."""
