"""From the keywords of `Model.train` to the plan of a run: defaults filled in, everything checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError
from agegender.settings import (
    DRAWN_DEFAULTS,
    OWN_DEFAULTS,
    OWN_RANGES,
    SIZES,
    AugmentationSettings,
    ImageSettings,
    has_imagenet_weights,
)
from agegender.training_settings import Plan, TrainingSettings, as_kind


def plan_of(  # noqa: PLR0913 (those of `Model.train`)
    faces: FacesTable,
    others: Collection[str],
    *,
    heads: Sequence[str] | None = None,
    size: str = "small",
    body: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    losses: Mapping[str, str] | None = None,
    loss_weights: Mapping[str, float] | None = None,
    allows_sensitive: bool = False,
    balance: Sequence[str] = (),
    name: str | None = None,
    **settings: Any,
) -> Plan:
    """Return the plan that keywords of `Model.train` make, checked; `others` are keywords too, for a mistyped one."""
    if body is None and size not in SIZES:
        raise UsageError(f"there is no size {size!r}; there are {', '.join(SIZES)}, or name a body.")
    defaults = DRAWN_DEFAULTS if faces.is_drawn() else OWN_DEFAULTS
    training, augmentation = _training_and_changes(settings, defaults, others)
    image = ImageSettings(size=as_kind("--image-size", image_size or defaults["image_size"], int))
    training.sizes(image.size)  # before anything slow
    kind = "custom" if body else size
    plan = Plan(
        name=name or f"{re.sub(r'[^A-Za-z0-9_.-]', '-', body or size)}-{datetime.now():%Y%m%d-%H%M%S}",
        body=body or SIZES[size],
        size=kind,
        weights=weights or ("none" if faces.is_drawn() or not has_imagenet_weights(body or "") else "imagenet"),
        heads=None if heads is None else as_kind("--heads", heads, tuple[str, ...]),
        losses=dict(losses or {}),
        head_weights=dict(loss_weights or {}),
        allows_sensitive=allows_sensitive,
        image=image,
        augmentation=augmentation,
        training=training,
        balance=as_kind("--balance", balance or (), tuple[str, ...]),
    )
    plan.training.check_with_balance(plan.balance)
    return plan


def _training_and_changes(
    given: Mapping[str, Any], defaults: Mapping[str, Any], others: Collection[str]
) -> tuple[TrainingSettings, AugmentationSettings]:
    """Return the settings of keywords, and the random changes of photos that they ask for."""
    wanted = given.get("augmentation")
    own = wanted if isinstance(wanted, AugmentationSettings) else None
    named = {"augmentation": None if own is not None or wanted is None else str(wanted)}
    training = TrainingSettings.of_keywords({**given, **named}, defaults, others=others)
    changes = training.changes(own)
    return (training if own is None else replace(training, augmentation=OWN_RANGES)), changes
