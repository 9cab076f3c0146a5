"""Predictions in; groups, intervals, tests, findings, comparisons of models out. No torch, no fastai, no pictures."""
