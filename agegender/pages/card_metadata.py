"""The block of metadata at the top of `MODEL_CARD.md`, by which Hugging Face's Hub files a model and shows its figures.

The file is the README.md of a repository there, as it stands. The block is YAML; every text in it is written as JSON
writes it, which is YAML too, so that nothing in a name or a licence can add a key.

References
----------
The fields: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agegender.audit.words import FEW, capitalised, interval_ends
from agegender.data.sources import choices, shown_name, source_name
from agegender.errors import UsageError
from agegender.heads import Head, Regression, RowMetric
from agegender.pages.page_writing import ReportContent

# Not data sets, but how anybody's photos lie.
_LAYOUTS = ("drawn-faces", "folder", "csv")
_KNOWN = ("mae", "accuracy")  # by the Hub's list of metrics; the other figures have names of their own
# The licences that the Hub knows by an identifier; anything else is "other", with a name.
_LICENCES = frozenset(re.findall(r"\S+", """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
    pddl"""))  # fmt: skip


def metadata_block(content: ReportContent) -> str:
    """Return the block, from one line of dashes to the other: what people wrote, what was judged, what was measured."""
    results = list(_results(content))
    types = dict.fromkeys(one["type"] for result in results for one in result["metrics"] if one["type"] in _KNOWN)
    document = {
        **_licence(content.human.paragraphs.get("licence", ())),
        "library_name": "agegender",
        # The nearest of the Hub's tasks; it has none that makes a number of a photo.
        "pipeline_tag": "image-classification",
        "tags": list(_tags(content)),
        "datasets": _data_sets(content),
        "metrics": list(types),
        "model-index": [{"name": _plain(content.assessment.title) or "model", "results": results}] if results else [],
    }
    return "\n".join(["---", *_yaml({key: value for key, value in document.items() if value}), "---"]) + "\n\n"


def _licence(paragraphs: Sequence[str]) -> dict[str, str]:
    """Return what a person wrote of the licence, as the Hub wants it; nothing where nobody did."""
    text = _plain(" ".join(paragraphs))
    spelled = re.sub(r"[\s_]+", "-", text.lower())
    if not text or spelled in _LICENCES:
        return {"license": spelled} if text else {}
    link = re.search(r"https?://[^\s<>\"]*[^\s<>\".,;)]", text)
    name = re.sub(r"[^a-z0-9.]+", "-", text.replace(link[0] if link else "\n", "").lower())[:60].strip("-.")
    return {"license": "other", "license_name": name or "other"} | ({"license_link": link[0]} if link else {})


def _tags(content: ReportContent) -> Iterator[str]:
    yield from ("agegender", "face-analysis")
    for head in content.heads:
        words = re.sub(r"[^a-z0-9]+", "-", head.title.lower()).strip("-")
        yield f"{words}-{'estimation' if isinstance(head, Regression) else 'classification'}"
    yield from ("drawn-faces",) if content.assessment.is_drawn else ()


def _data_sets(content: ReportContent) -> list[str]:
    """Return the data sets among the sources, by our names: nobody's file says where on the Hub they lie."""
    found = []
    for name in sorted({str(one) for one in content.assessment.rows["source"].dropna().unique()}):
        try:
            found.append(shown_name(source_name(name)))
        except UsageError:  # of a table from elsewhere
            continue
    return [name for name in choices() if name in found and name not in _LAYOUTS]


def _results(content: ReportContent) -> Iterator[dict[str, Any]]:
    """Yield one result for each head: what was asked of which photos, and its main figures with their intervals."""
    judged, sets = content.assessment.judged, _data_sets(content)
    if content.hide_faces and len(judged) < FEW:
        return
    elsewhere = "drawn faces" if content.assessment.is_drawn else "own photos"
    named = {"type": sets[0] if len(sets) == 1 else "mixed" if sets else "own", "name": ", ".join(sets) or elsewhere}
    for head in content.heads:
        is_number = isinstance(head, Regression)
        task = {
            "type": "image-regression" if is_number else "image-classification",
            "name": _plain(f"{capitalised(head.title)} {'estimation' if is_number else 'label'}"),
        }
        if metrics := [one for metric in head.metrics if (one := _metric(content, head, metric))]:
            yield {"task": task, "dataset": named | {"split": content.assessment.judged_split}, "metrics": metrics}


def _metric(content: ReportContent, head: Head, metric: RowMetric) -> dict[str, Any] | None:
    """Return a figure of all judged photos; nothing for those that only make sense beside others, or are unknown."""
    is_wanted = metric.short in (*_KNOWN, "interval_coverage") or metric.key.startswith("within_")
    if not is_wanted or metric.name not in content.assessment.metrics:
        return None
    estimate = content.assessment.overall(metric.name)
    if not math.isfinite(estimate.value):
        return None
    known = int(np.isfinite(metric.values(content.assessment.judged)).sum())
    digits = content.digits(head, 2) if isinstance(head, Regression) and not metric.is_rate else 1
    ends = interval_ends(estimate, digits, is_percent=metric.is_rate).strip("()")
    unit = "" if metric.is_rate or not metric.unit else f" in {metric.unit}"
    name = f"{capitalised(metric.title)}{unit} (n = {known:,}{f', 95 % CI {ends}' if ends else ''})"
    return {"type": metric.short, "value": round(estimate.value, 6), "name": _plain(name)}


def _plain(text: str) -> str:
    """Return a text as one line of printable letters: YAML takes no others."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of mappings and lists of texts and numbers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, (Mapping, list)):
                yield f"{indent}{key}:"
                yield from _yaml(item, indent + "  ")
            else:
                yield f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}"
        return
    for item in value:
        first, *rest = (
            _yaml(item, indent + "  ") if isinstance(item, Mapping) else [json.dumps(item, ensure_ascii=False)]
        )
        yield f"{indent}- {first.strip()}"
        yield from rest
