"""Which of the packages that agegender declares are absent here, or too old."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version


def unmet_requirements(package: str = "agegender", *, outdated_only: bool = False) -> list[str]:
    """Return what a package requires, extras left out, and has not got; empty where all is well or nothing is known.

    >>> unmet_requirements("a-package-that-nobody-has")
    []
    """
    try:
        from packaging.requirements import Requirement

        declared = [Requirement(line) for line in requires(package) or ()]
    except (ImportError, PackageNotFoundError):
        return []
    unmet = []
    for one in declared:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(one.name)
        except PackageNotFoundError:
            unmet += [] if outdated_only else [one.name]
            continue
        if not one.specifier.contains(found, prereleases=True):
            unmet.append(f"{one.name}{one.specifier} (here: {found})")
    return unmet


def lacking_words(error: Exception) -> str | None:
    """Return one line on what an installation lacks, where that explains an import or a call that failed, or None."""
    if not (unmet := unmet_requirements(outdated_only=isinstance(error, AttributeError))):
        return None
    return f"{error}. This installation lacks {', '.join(unmet)}: pip install --upgrade agegender brings it."
