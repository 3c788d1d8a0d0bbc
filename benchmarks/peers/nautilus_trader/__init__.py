"""nautilus_trader."""
