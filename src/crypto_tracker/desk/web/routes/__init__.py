"""The endpoints, one module for each group of pages. Each is a line that asks the book of an account."""
