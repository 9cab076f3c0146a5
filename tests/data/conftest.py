"""Imports fastai once, quietly, before a test module does it with warnings as errors."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations of torch and pandas, met while fastai 2.8 is imported
    import fastai.callback.progress  # noqa: F401
