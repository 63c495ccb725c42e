"""What `benchmarks/training.py` compares: the workloads, and a training loop for each contestant."""
