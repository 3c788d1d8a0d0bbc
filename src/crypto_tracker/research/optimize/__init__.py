"""Searches for better parameters: in sample, walked forward, and held against chance."""
