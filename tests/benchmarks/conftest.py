"""The benchmarks are scripts and no package of ours: their folder is put where Python looks."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
