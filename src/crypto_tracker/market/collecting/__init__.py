"""The service that keeps bars up to date: a provider's stream, and what has to be fetched beside it."""
