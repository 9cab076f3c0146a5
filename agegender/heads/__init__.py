"""What can be predicted, as data: numbers and classes. The kind of a head decides what is done with it, never its name.

numpy, pandas and scipy only: a table is audited without torch.
"""

from agegender.heads.choosing import (
    FORMER_COLUMNS,
    KNOWN_HEADS,
    Head,
    answering_by,
    check_head_names,
    choose_heads,
    head_from_dict,
    head_to_dict,
    heads_of_predictions,
    limits_to_check,
    losses_of,
    with_settings,
)
from agegender.heads.classification import GENDER, Classification, slug
from agegender.heads.regression import AGE, Regression
from agegender.heads.row_metrics import RowMetric
from agegender.heads.target import Target

__all__ = [
    "AGE",
    "FORMER_COLUMNS",
    "GENDER",
    "KNOWN_HEADS",
    "Classification",
    "Head",
    "Regression",
    "RowMetric",
    "Target",
    "answering_by",
    "check_head_names",
    "choose_heads",
    "head_from_dict",
    "head_to_dict",
    "heads_of_predictions",
    "limits_to_check",
    "losses_of",
    "slug",
    "with_settings",
]
