"""Which layout a folder has that came without `--source`: every layout is scored, and the only best one is taken."""

from __future__ import annotations

from pathlib import Path

from agegender.data.sources import choices, shown_name
from agegender.data.sources.csv_table import has_labels
from agegender.data.sources.folder import labelled_share
from agegender.data.sources.layouts import layout_scores
from agegender.errors import FolderError
from agegender.photos.finding import require_folder
from agegender.progress import say

# Names of folders say something in many datasets; a layout that knows its files' names is believed first.
_FOLDERS_WEIGHT = 0.9


def recognised_source(root: Path) -> str:
    """Return the source whose layout a folder has, and say which."""
    scores = {} if root.is_file() else layout_scores(root)
    if has_labels(root):
        scores["csv_table"] = 1.0
    else:
        require_folder(root)
    named = 0.0 if scores else _FOLDERS_WEIGHT * labelled_share(root)
    if named > 0.5:
        scores["folder"] = named
    best = [source for source, score in scores.items() if score == max(scores.values())]
    if len(best) == 1:
        say(f"{root} looks like {shown_name(best[0])} and is read so; --source NAME would say otherwise")
        return best[0]
    if best:
        which = " or ".join(map(shown_name, best))
        raise FolderError(f"{root} could be {which}: say which with --source {shown_name(best[0])}.")
    if not any(root.iterdir()):
        raise FolderError(f"the folder {root} is empty. Name the folder that holds the photos with --data.")
    raise FolderError(
        f"{root} has none of the layouts that are known here: {', '.join(choices())}. Name one with --source, or write "
        f"a table of paths, ages and genders beside the photos and take --source csv."
    )
