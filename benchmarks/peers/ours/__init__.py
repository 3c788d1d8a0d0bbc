"""This project's own engine, under the same rules as its peers and under all of its own."""
