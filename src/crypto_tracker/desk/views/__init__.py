"""What pages show: one module of typed, read-only views for each page. The API answers with nothing else."""
