"""Which parts of a face a prediction rests on, and how far that can be trusted."""

from importlib.util import find_spec

from agegender.errors import MissingExtraError

# Here, and not beside what they name, because commands list them without loading anything heavy.
SEGMENTS = ("slic", "quickshift", "face-grid")
FILLS = ("mean", "blur", "inpaint")
GRAD_CAM, OCCLUSION = "Grad-CAM", "occlusion"
EXPLANATIONS_FOLDER = "explanations"  # below a model's reports


def has_captum() -> bool:
    """Return whether the extra `explain` is there, without loading it."""
    return find_spec("captum") is not None


def require_captum() -> None:
    """Refuse second opinions where captum is not installed."""
    if not has_captum():
        raise MissingExtraError(
            'Grad-CAM and occlusion need captum, which is not installed: pip install "agegender[explain]", or leave '
            "--second-opinions out."
        )
