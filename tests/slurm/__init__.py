"""A real Slurm on one machine, whose nodes are namespaces."""
