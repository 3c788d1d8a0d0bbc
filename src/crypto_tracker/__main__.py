"""Lets `python -m crypto_tracker` be the same as the command `crypto-tracker`."""

from crypto_tracker.app.cli.main import main

if __name__ == "__main__":
    main()
