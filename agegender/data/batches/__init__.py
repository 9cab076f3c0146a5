"""From a faces table to batches on a device, as a real fastai DataBlock, but fast.

Bytes stay bytes until the batch: threads decode photos with OpenCV and warp them straight into one uint8 array, which
becomes float once, where the network is. Reading order: items (rows), targets, photos, loader (the speed), showing
(what a person sees), block (putting it together). This is the one place of `dataset` that knows torch and fastai.
"""

import warnings

with warnings.catch_warnings():
    # fastai 2.8 scripts its layers while it is imported, which torch deprecates: nothing that a user could mend.
    warnings.simplefilter("ignore", FutureWarning)
    import fastai.torch_basics  # noqa: F401

from agegender.data.batches.block import make_data_block, make_dataloaders, make_test_dataloader
from agegender.data.batches.items import FaceItem, face_items
from agegender.data.batches.photos import TensorPhoto
from agegender.data.batches.showing import show_photo_batch, show_photo_results
from agegender.data.batches.targets import AgeYears, ClassLabel

__all__ = [
    "AgeYears",
    "ClassLabel",
    "FaceItem",
    "TensorPhoto",
    "face_items",
    "make_data_block",
    "make_dataloaders",
    "make_test_dataloader",
    "show_photo_batch",
    "show_photo_results",
]
