"""Owns the fastai Learner whose `predict` knows that there is more than one head."""

from __future__ import annotations

from typing import Any

from fastai.learner import Learner


class FaceLearner(Learner):
    """A Learner that predicts all heads. The stock `predict` returns the probabilities of the first head alone."""

    def predict(
        self, item: Any, rm_type_tfms: Any = None, with_input: bool = False
    ) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]] | tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]:
        """Predict one photo.

        Parameters
        ----------
        item : path, bytes or array, uint8 (H, W, 3)
            Whatever the DataLoaders take.
        with_input : bool
            Whether to return the decoded photo first.

        Returns
        -------
        decoded : tuple
            Age in years and the gender label, as a person reads them.
        values : tuple of Tensor
            Years and the class number.
        activations : tuple of Tensor
            Years, and the probability of each class in the order of the head's classes.
        """
        loader = self.dls.test_dl([item], rm_type_tfms=rm_type_tfms, num_workers=0)
        inputs, activations, _, values = self.get_preds(dl=loader, with_input=True, with_decoded=True)
        decoded = self.dls.decode_batch((inputs, *values))[0]
        photo, labels = decoded[0], tuple(decoded[1:])
        result = (labels, tuple(value[0] for value in values), tuple(value[0] for value in activations))
        return (photo, *result) if with_input else result
