"""What a tracking service is sent of a run, where `--track` names one: figures of epochs and plain settings.

Photos, paths, labels, the run's name and what is known of this machine stay here; so nothing else than `log` is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from fastai.callback.core import Callback

from agegender.errors import MissingExtraError, UsageError


def check_tracking(service: str | None) -> None:
    """Refuse a service whose package is not installed, or that does not know whose figures these are."""
    if service is None:
        return
    if find_spec(service) is None:
        raise MissingExtraError(f"--track {service} needs the extra {service}: pip install 'agegender[{service}]'.")
    with _errors_in_words():
        import wandb

        if wandb.setup().settings.mode not in ("offline", "disabled"):
            wandb.login(verify=False)  # asks where there is a terminal


@contextmanager
def _errors_in_words() -> Iterator[None]:
    import wandb

    try:
        yield
    except wandb.Error as error:
        raise UsageError(
            f"--track wandb: {' '.join(str(error).split())} Run `wandb login`, set WANDB_API_KEY, or keep the figures "
            f"here with WANDB_MODE=offline."
        ) from error


class WandbRun(Callback):
    """Send each epoch's row of numbers to Weights & Biases; WANDB_MODE=offline keeps it in the folder `wandb`."""

    order = 71

    def __init__(self, hyper_parameters: Mapping[str, Any], run_id: str) -> None:
        super().__init__()
        # Texts may be paths, names or labels; numbers and switches are not.
        self.plain = {name: value for name, value in hyper_parameters.items() if isinstance(value, (int, float, bool))}
        self.run_id = run_id
        self.sent: Any = None

    def before_fit(self) -> None:
        """Open the run, the same one where an earlier leg had begun it."""
        import wandb

        quiet = wandb.Settings(
            console="off", disable_code=True, disable_git=True, save_code=False, silent=True, host="hidden",
            program="agegender", x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
        )  # fmt: skip
        with _errors_in_words():
            self.sent = wandb.init(
                project="agegender", id=self.run_id, name=self.run_id, config=self.plain, resume="allow", settings=quiet
            )

    def after_epoch(self) -> None:
        """Send the numbers of this epoch."""
        row = self.learn.epoch_recorder.rows[-1]
        self.sent.log({name: float(value) for name, value in row.items()}, step=int(row["epoch"]))

    def close(self) -> None:
        """End the run, also after Ctrl-C; closing twice does nothing."""
        if self.sent is not None:
            self.sent.finish()
            self.sent = None
