"""Where recorded order books come from: captures of what exchanges sent."""
