"""Puts this folder on the path, so that all tests can import the datasets and photos that are written for them."""
