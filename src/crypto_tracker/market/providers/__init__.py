"""Where bars come from: one module for each provider."""
