"""What an audit knows to be wrong with a model: from its card, or worked out from the predictions beside it."""

from __future__ import annotations

import logging
import threading
from typing import Any

from agegender.api.model import Model
from agegender.errors import AgeGenderError
from agegender.heads import Classification
from agegender.heads.age_bands import AGE_EDGES, AGE_GROUPS, FINE_BANDS, FINE_EDGES

KNOWN, WORKING, UNKNOWN = "known", "being worked out", "unknown"
_NO_AUDIT = "No audit is stored with this model, so its weaknesses are not known here."
_log = logging.getLogger("agegender.serving")


class Weaknesses:
    """The findings about groups of one model. They are worked out in a thread of their own, when first asked for."""

    def __init__(self, model: Model) -> None:
        stored = model.card.get("findings")
        # Read now: the folder may be another model's later.
        self._predictions = model.predictions if stored is None else None
        self._heads, self._title, self._lock = model.heads, model.name, threading.Lock()
        self._told: dict[str, Any] = {"status": UNKNOWN, "words": _NO_AUDIT, "findings": []}
        if stored is not None:
            self._told = {"status": KNOWN, "words": "", "findings": [_told(finding) for finding in stored]}

    def document(self) -> dict[str, Any]:
        """Return what is known so far: a status, words where nothing is, and sentences with their groups."""
        with self._lock:
            if self._predictions is not None:
                table, self._predictions = self._predictions, None
                self._told = {"status": WORKING, "words": "", "findings": []}
                threading.Thread(target=self._work_out, args=(table,), name="audit", daemon=True).start()
            return {**self._told, "groups": self._groups()}

    def _work_out(self, table: Any) -> None:
        from agegender.api.audit import Audit  # scipy, which nothing else here needs

        try:
            audit = Audit(table, heads=self._heads, title=self._title)
            findings = [_told(finding.to_dict()) for finding in audit.findings if finding.is_gap]
            words = f"Judged on {len(audit.rows):,} photos ({audit.split})."
            told = {"status": KNOWN, "words": words, "findings": findings}
        except AgeGenderError as error:
            told = {"status": UNKNOWN, "words": str(error), "findings": []}
        except Exception:  # the server lives on without
            _log.exception("the audit failed")
            told = {"status": UNKNOWN, "words": _NO_AUDIT, "findings": []}
        with self._lock:
            self._told = told

    def _groups(self) -> dict[str, Any]:
        """Return how the group of a face is told from its row, column by column; of any other column it is not."""
        told: dict[str, Any] = {}
        for head in self._heads:
            if isinstance(head, Classification):
                told[head.column] = {"predicted": head.predicted}
            elif head.has_bands:
                told["age_group"] = {"predicted": head.predicted, "edges": AGE_EDGES, "names": AGE_GROUPS}
                told["age_band"] = {"predicted": head.predicted, "edges": FINE_EDGES, "names": FINE_BANDS}
        return told


def _told(finding: Any) -> dict[str, Any]:
    return {name: finding[name] for name in ("sentence", "columns", "values", "n")}
