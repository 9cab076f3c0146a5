"""The fastai Learner: recipes, callbacks, TensorBoard."""
