"""One file per dataset layout: a folder in, a faces table out.

`DESCRIPTIONS` is the written list: to add a dataset is one file and one line here. The modules are loaded when they are
asked for, so that `--help` can list the names at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from agegender.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from agegender.data.faces_table import FacesTable

    Read = Callable[..., FacesTable]

# Source -> what it is, for --help. The module agegender.data.sources.<name> has `read(root, **options) -> FacesTable`.
DESCRIPTIONS = {
    "utkface": "labels in the file name: age_gender_ethnicity_date.jpg",
    "drawn_faces": "the faces that this program draws itself",
    "appa_real": "APPA-REAL: apparent and real age, official split",
    "course_kit": "the bias challenge's starting kit: APPA-REAL faces and apparent ages as .npy arrays",
    "afad": "Asian Face Age Dataset: folders age/111 (male) and age/112 (female)",
    "cacd": "Cross-Age Celebrity Dataset: ages and persons, no gender",
    "fairface": "FairFace: age ranges, gender and race in label tables",
    "all_age_faces": "All-Age-Faces: serial number and age in the file name",
    "masked_faces": "the mask competition's folders: one person per folder, seven photos",
    "folder": "any photos, age and gender as names of folders, such as 25/female/",
    "csv_table": "any photos with a CSV, TSV, Excel or Parquet table of labels",
}
_OTHER_NAMES = {"csv": "csv_table", "drawn": "drawn_faces", "aaf": "all_age_faces"}


def source_name(name: str) -> str:
    """Return the name as `DESCRIPTIONS` spells it; hyphens, underscores and capitals are alike.

    >>> source_name("APPA-REAL"), source_name("csv")
    ('appa_real', 'csv_table')
    """
    spelled = name.strip().lower().replace("-", "_").replace(" ", "_")
    spelled = _OTHER_NAMES.get(spelled, spelled)
    if spelled in DESCRIPTIONS:
        return spelled
    hint = did_you_mean(spelled.replace("_", "-"), choices())
    raise UsageError(f"there is no source named {name!r}.{hint} Sources: {', '.join(choices())}.")


def find_source(name: str) -> Read:
    """Return the `read` function of a source, in any accepted spelling of its name."""
    read: Read = import_module(f"agegender.data.sources.{source_name(name)}").read
    return read


def is_aligned(source: str, path: str) -> bool:
    """Return whether a source promises that eyes, nose and mouth are where they are in UTKFace's aligned photos.

    >>> is_aligned("utkface", "25_0_1_20170116174525125.jpg.chip.jpg"), is_aligned("utkface", "25_0_1_2017.jpg")
    (True, False)
    """
    return source == "utkface" and path.lower().endswith((".chip.jpg", ".chip.jpeg"))


def shown_name(source: str) -> str:
    """Return a name of `DESCRIPTIONS` as it is written on a command line."""
    return "csv" if source == "csv_table" else source.replace("_", "-")


def choices() -> tuple[str, ...]:
    """Return the names as they are written on a command line.

    >>> choices()[:2]
    ('utkface', 'drawn-faces')
    """
    return tuple(map(shown_name, DESCRIPTIONS))
