"""What the pages are answered with: the books of accounts and recorded runs, joined for `desk.web`."""
