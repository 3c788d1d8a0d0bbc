"""A process that takes a lease, says so, and holds it until it is killed or told to go. For test_leases.py."""

import sys
import time
from pathlib import Path

from crypto_tracker.store.leases import Lease


def main() -> None:
    """Take the lease `argv[2]` of the home `argv[1]` for `argv[3]` seconds at a time."""
    home, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with Lease.open(home, name, seconds=seconds, now_ms=lambda: int(time.time() * 1_000)) as lease:
        holder = lease.acquire()
        sys.stdout.write(f"{lease.token}\n" if holder is None else f"held by {holder.pid}\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
