"""Predictions in; groups, intervals, tests, findings and comparisons of models out. No torch, no fastai, no pictures."""
