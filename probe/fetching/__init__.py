"""Fetching: what a real twin is made from and cannot be shipped, its base model and its text, got or made once."""
