"""Age and gender from face photos, and honest reports about who the model is wrong about."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):  # noqa: UP036 (a checkout is asked by any Python)
    raise ImportError(
        f"agegender needs Python 3.11 or newer, and this is Python {sys.version_info[0]}.{sys.version_info[1]}."
    )

if sys.platform == "win32":
    raise ImportError("agegender does not run on Windows itself; in WSL it does, as on Linux.")  # it has no fcntl

from agegender.settings import VERSION

if TYPE_CHECKING:
    from agegender.api.audit import Audit
    from agegender.api.comparison import Comparison
    from agegender.api.explainer import Explainer
    from agegender.api.faces import Faces
    from agegender.api.model import Model
    from agegender.audit.chalearn import chalearn_bias
    from agegender.errors import AgeGenderError
    from agegender.heads import AGE, GENDER, Classification, Regression, Target

__version__ = VERSION
# Each is loaded when it is first asked for, so that `--help` is instant and an audit needs no torch.
_PUBLIC = {
    "AGE": "agegender.heads",
    "AgeGenderError": "agegender.errors",
    "Audit": "agegender.api.audit",
    "Classification": "agegender.heads",
    "Comparison": "agegender.api.comparison",
    "Explainer": "agegender.api.explainer",
    "Faces": "agegender.api.faces",
    "GENDER": "agegender.heads",
    "Model": "agegender.api.model",
    "Regression": "agegender.heads",
    "Target": "agegender.heads",
    "chalearn_bias": "agegender.audit.chalearn",
}
__all__ = [
    "AGE",
    "GENDER",
    "AgeGenderError",
    "Audit",
    "Classification",
    "Comparison",
    "Explainer",
    "Faces",
    "Model",
    "Regression",
    "Target",
    "__version__",
    "chalearn_bias",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'agegender' has no attribute {name!r}")
    try:
        return getattr(import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        from agegender.installation import lacking_words

        if (message := lacking_words(error)) is None:
            raise
        raise ModuleNotFoundError(message, name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
