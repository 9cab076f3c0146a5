"""The command serve: a model behind HTTP, with a page for people."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.console import Result, command_parser, execute
from agegender.errors import MissingExtraError, UsageError
from agegender.options import add_device_options, add_model_option, add_runtime_option, check_device
from agegender.progress import say

if TYPE_CHECKING:
    from agegender.serving.limits import Limits
    from agegender.serving.service import Service

TOKEN_VARIABLE = "AGEGENDER_TOKEN"
LEAST_TOKEN = 16
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY = ("0.0.0.0", "::", "")
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")

EPILOG = f"""\
examples:
  agegender serve
      then open http://127.0.0.1:8000/
  curl -F photos=@one.jpg -F photos=@two.jpg http://127.0.0.1:8000/predict
  AGEGENDER_TOKEN=$(openssl rand -hex 32) agegender serve --host 0.0.0.0 --allowed-host faces.example.org
  agegender serve --model models/mine --runtime onnx --token /run/secrets/token --host 10.0.0.5

Only this machine is served unless --host says otherwise, and then a token of at least {LEAST_TOKEN} characters is
needed, as a file or in {TOKEN_VARIABLE}. Photos stay in memory, are never written or logged, and are gone with the
answer. Ctrl-C and SIGTERM stop the server when what is in flight is answered. A model folder that changes is not loaded
again; /ready says so. docs/serving.md has the rest."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("serve", "Serve a model over HTTP, with a page to drop photos on.", epilog=EPILOG)
    add_model_option(parser, takes_exported=True, is_shipped_usual=True)
    add_device_options(parser)
    add_runtime_option(parser)
    parser.add_argument(
        "--crop-model",
        metavar="FILE",
        type=Path,
        help="face_detection_yunet_*.onnx, for a model whose crops YuNet made",
    )
    place = parser.add_argument_group("place")
    place.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine only, 127.0.0.1)")
    place.add_argument("--port", metavar="N", type=int, default=8000, help="0 takes any that is free (default: 8000)")
    place.add_argument(
        "--token",
        metavar="FILE",
        type=Path,
        help=f"a file that holds the token which clients must send (default: the variable {TOKEN_VARIABLE}, or none)",
    )
    place.add_argument(
        "--allowed-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which clients may address the server, besides this machine's; may be given several times",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-megabytes", metavar="N", type=float, default=32, help="of one request (default: 32)")
    limits.add_argument("--max-photos", metavar="N", type=int, default=32, help="in one request (default: 32)")
    limits.add_argument("--max-megapixels", metavar="N", type=float, default=24, help="of one photo (default: 24)")
    limits.add_argument(
        "--queue", metavar="N", type=int, default=256, help="photos that may wait; more get status 429 (default: 256)"
    )
    limits.add_argument(
        "--explain-queue", metavar="N", type=int, default=8, help="explanations that may wait (default: 8)"
    )
    limits.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=60, help="for a prediction, waiting included (default: 60)"
    )
    return parser


def run(options: argparse.Namespace) -> Result:
    """Load the model, and serve it until told to stop."""
    check_device(options.device)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f'serve needs {", ".join(missing)}: pip install "agegender[serve]".')
    token = _token(options)
    _check_place(options, token)
    limits = _limits(options)
    from agegender.serving.running import listening, make_server

    place = listening(options.host, options.port)
    from agegender.serving.application import make_application

    with place:
        service = _service(options, limits)
        application = make_application(service, limits, token=token, hosts=_hosts(options))
        name = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{name}:{place.getsockname()[1]}/"
        say(f"serving {service.model.name} on {address} (Ctrl-C stops)")
        make_server(application, limits).run(sockets=[place])
    document = {"model": service.model.name, "address": address}
    return Result(document, f"stopped serving {service.model.name} on {address}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return execute(build_parser(), run, arguments)


def _token(options: argparse.Namespace) -> str | None:
    """Return the token, which never stands on a command line, where every user of the machine could read it."""
    if options.token is None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        source = TOKEN_VARIABLE
    else:
        source = f"--token {options.token}"
        try:
            token = options.token.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise UsageError(f"{source} cannot be read ({reason}). It names a file that holds the token.") from error
    if not token and options.token is None:
        return None
    if len(token) < LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError(
            f"{source}: a token has at least {LEAST_TOKEN} letters, digits and signs, and no spaces; "
            f"`openssl rand -hex 32` makes one."
        )
    return token


def _check_place(options: argparse.Namespace, token: str | None) -> None:
    if not 0 <= options.port <= 65_535:
        raise UsageError(f"--port {options.port} is out of range; it goes from 0 to 65535.")
    if options.host in _LOOPBACK:
        return
    if token is None:
        raise UsageError(
            f"--host {options.host} lets other machines in, which needs a token: name its file with --token, or set "
            f"{TOKEN_VARIABLE}."
        )
    if options.host in _ANY and not options.allowed_host:
        raise UsageError(
            f"--host {options.host} listens under every name of this machine: say with --allowed-host under which of "
            f"them clients come."
        )


def _hosts(options: argparse.Namespace) -> list[str]:
    return [*options.allowed_host, *([] if options.host in _ANY else [options.host])]


def _limits(options: argparse.Namespace) -> Limits:
    from agegender.serving.limits import MEGA, Limits

    for name in ("max_megabytes", "max_photos", "max_megapixels", "queue", "explain_queue", "timeout"):
        value = getattr(options, name)
        if not 0 < value < 1e6:
            raise UsageError(f"--{name.replace('_', '-')} {value:g} is out of range; it must be above 0.")
    if options.max_photos > options.queue:
        raise UsageError(
            f"--max-photos {options.max_photos} would never fit --queue {options.queue}: make the queue longer."
        )
    body_bytes = int(options.max_megabytes * MEGA)
    return Limits(
        body_bytes=body_bytes,
        photos=options.max_photos,
        pixels=int(options.max_megapixels * MEGA),
        queued_photos=options.queue,
        queued_explanations=options.explain_queue,
        held_bytes=max(Limits.held_bytes, 4 * body_bytes),
        answer_seconds=options.timeout,
    )


def _service(options: argparse.Namespace, limits: Limits) -> Service:
    from agegender.model.model_folder import chosen_model_or_export

    folder = chosen_model_or_export(options.model, options.models_dir)
    from agegender.api.model import Model
    from agegender.model.shipped import warn_of_drawn
    from agegender.serving.service import Service

    model = Model.load(
        folder, device=options.device, precision=options.precision, runtime=options.runtime,
        detector_file=options.crop_model,
    )  # fmt: skip
    warn_of_drawn(model.card, folder)
    return Service(model, folder, largest_pixels=limits.pixels)


if __name__ == "__main__":
    raise SystemExit(main())
