"""The options that several commands share, written once, and those of a training run."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from agegender.errors import FolderError, PhotoError, TableError, UsageError, WeightsError, did_you_mean
from agegender.loss_choices import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, losses_words
from agegender.photos.finding import ARCHIVES, neighbours, require_folder
from agegender.settings import (
    AGE_CHECK_RATE,
    AGE_CHECKS,
    DRAWN_DEFAULTS,
    LARGEST_IMAGE_SIZE,
    LEAST_FOLDS,
    LEAST_TRAINED_SIZE,
    MOST_FOLDS,
    NARROW,
    OWN_DEFAULTS,
    PRECISIONS,
    RUNTIMES,
    SIZES,
    SMALL_STEM,
    SPLIT_CHOICES,
    VOTES,
)
from agegender.training_settings import TrainingSettings

_DEVICES = ("cpu", "cuda", "mps", "xpu")
_LARGEST = {"image_size": LARGEST_IMAGE_SIZE}
_LEAST = {"stop_after": 1, "processes": 1, "image_size": LEAST_TRAINED_SIZE, "limit": 1, "trials": 1}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --models-dir, --device and --precision."""
    add_model_option(parser)
    add_device_options(parser)


def add_model_option(
    parser: argparse.ArgumentParser,
    *,
    takes_exported: bool = False,
    is_shipped_usual: bool = False,
    takes_several: bool = False,
) -> None:
    """Add --model, again and again where it `takes_several`, and --models-dir, None where the shipped one is usual."""
    what = "a model folder, or the .onnx file that a model was exported to" if takes_exported else "a model folder"
    metavar = "MODEL" if takes_exported else "FOLDER"
    usual = "the model that comes with agegender" if is_shipped_usual else "the newest in --models-dir"
    more = "; given several times, models answer side by side" if takes_several else ""
    action = "append" if takes_several else "store"
    parser.add_argument("--model", metavar=metavar, type=Path, action=action, help=f"{what} (default: {usual}){more}")
    if is_shipped_usual:
        said = "take the newest model in this folder"
        parser.add_argument("--models-dir", metavar="FOLDER", type=Path, help=said)
    else:
        add_folder_option(parser, "models")


def add_folder_option(parser: argparse._ActionsContainer, kind: str, help_text: str = "") -> None:
    """Add --models-dir, --reports-dir or --runs-dir."""
    said = f"{help_text} (default: {kind})".strip()
    parser.add_argument(f"--{kind}-dir", metavar="FOLDER", type=Path, default=Path(kind), help=said)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add --device and --precision."""
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="(default: auto)")


def add_runtime_option(parser: argparse._ActionsContainer) -> None:
    """Add --runtime."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="what runs the network; onnx: onnxruntime, a folder's model.onnx, which is exported first where it is "
        "missing (default: torch for a folder, onnx for an .onnx file)",
    )


def add_faces_options(parser: argparse._ActionsContainer, *, faces: str, data: str, source: str) -> None:
    """Add --source, --data, --faces, --images and --limit, each with what it defaults to here."""
    parser.add_argument("--source", metavar="NAME", help=f"layout of --data, such as utkface{source}")
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help=f"folder of labelled faces; may be given several times{data}",
    )
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="source_options",
        help="an option of the source, as `agegender prepare --help` lists them; may be given several times",
    )
    parser.add_argument("--faces", metavar="FILE", type=Path, help=f"a faces table{faces}")
    add_images_option(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="use a random N of the photos")


def add_vote_option(parser: argparse._ActionsContainer) -> None:
    """Add --vote."""
    parser.add_argument(
        "--vote",
        choices=VOTES,
        default=VOTES[0],
        help="how several networks answer as one: soft averages their distributions; hard takes the majority of "
        f"classes and the median of numbers (default: {VOTES[0]})",
    )


def add_images_option(parser: argparse._ActionsContainer) -> None:
    """Add --images."""
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        help="where the paths of the table start, if its photos have moved (default: as stored, else near the table)",
    )


def source_options(options: argparse.Namespace) -> dict[str, str]:
    """Return what --option says of the sources."""
    return pairs_of(options.source_options, "--option", "NAME=VALUE, such as target=real")


def add_judged_options(parser: argparse.ArgumentParser) -> None:
    """Add --model or --predictions with --columns, and --images: what is judged, ours or anybody's."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="FOLDER", type=Path, help="a model folder (default: the newest)")
    what.add_argument("--predictions", metavar="FILE", type=Path, help="a predictions table, .parquet or .csv")
    parser.add_argument(
        "--columns",
        metavar="OURS=THEIRS",
        nargs="+",
        action="extend",
        default=[],
        help="how the table calls our columns, such as predicted_age_years=pred_age",
    )
    add_images_option(parser)


def add_age_bands_option(parser: argparse.ArgumentParser) -> None:
    """Add --age-bands."""
    parser.add_argument(
        "--age-bands",
        metavar="YEAR",
        type=float,
        nargs="+",
        default=[5, 10, 15, 20, 30, 40, 50, 60, 70, 80],
        help="where finer age bands begin, beside ChaLearn's four groups (default: 5 10 15 20 and then every ten)",
    )


def add_age_check_options(parser: argparse.ArgumentParser) -> None:
    """Add --age-checks and --age-check-rate."""
    parser.add_argument(
        "--age-checks",
        metavar="CHECK",
        nargs="+",
        default=list(AGE_CHECKS),
        help="what is asked of ages, or none: 18:25 lets in who is judged 25 where the law says 18, 13-16 who is "
        f"judged 13 to 16 (default: {' '.join(AGE_CHECKS)})",
    )
    parser.add_argument(
        "--age-check-rate",
        metavar="SHARE",
        type=float,
        default=AGE_CHECK_RATE,
        help="at most such a share of people up to four years under the legal age is to be let through: the challenge "
        f"age that keeps it is looked for (default: {AGE_CHECK_RATE})",
    )


def age_check_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return these options as keywords, and refuse those that name no check before anything heavy is loaded."""
    from agegender.audit.age_checks import checks_of
    from agegender.audit.challenge_ages import wanted_rate_of

    checks_of(options.age_checks), wanted_rate_of(options.age_check_rate)
    return {"age_checks": options.age_checks, "age_check_rate": options.age_check_rate}


def check_images_folder(folder: Path | None) -> None:
    """Refuse --images that is no folder."""
    if folder is not None and not folder.is_dir():
        raise FolderError(f"--images {folder} is no folder. Name the folder that the table's paths start from.")


def add_split_option(parser: argparse._ActionsContainer, help_text: str, default: str | None = "test") -> None:
    """Add --split."""
    parser.add_argument("--split", choices=SPLIT_CHOICES, default=default, help=help_text)


def add_no_faces_option(parser: argparse._ActionsContainer) -> None:
    """Add --no-faces and --show-faces as `hide_faces`: None where neither is given and the reports' memory decides."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--no-faces",
        dest="hide_faces",
        action="store_true",
        default=None,
        help="show nobody: faces are blurred, files go without names; remembered beside the reports",
    )
    ways.add_argument(
        "--show-faces", dest="hide_faces", action="store_false", default=None, help="show them again after --no-faces"
    )


def check_faces_options(options: argparse.Namespace) -> None:
    """Refuse a source, a folder or a table that is not there, before anything heavy is loaded."""
    from agegender.data.sources import source_name

    if options.source:
        source_name(options.source)
    if options.faces is not None and options.data:
        raise UsageError("give either --faces or --data, not both: a faces table knows its own folder.")
    if source_options(options) and not options.data:
        raise UsageError("--option is for the source of a --data folder, and none is given.")
    for folder in options.data:
        check_data_folder(folder)
    check_faces_file(options.faces)
    if options.images is not None and options.data:
        raise UsageError("--images says where the photos of a faces table are now; --data names its own folder.")
    check_images_folder(options.images)


def check_data_folder(folder: Path) -> None:
    """Refuse what is neither a folder nor a table of labels."""
    is_table = folder.is_file() and not folder.name.lower().endswith(ARCHIVES)  # which a csv source reads
    if not is_table:
        require_folder(folder)


def check_faces_file(path: Path | None) -> None:
    """Refuse a faces table that is not there."""
    if path is None or path.is_file() or (path.exists() and not path.is_dir()):
        return  # a pipe is named as such when it is to be read
    if path.is_dir():
        raise TableError(
            f"--faces {path} is a folder, and a faces table is one file. Name a folder with --data {path}."
        )
    near = did_you_mean(path.name, neighbours(path))
    raise TableError(f"there is no faces table at {path}.{near} `agegender prepare --out {path}` makes one.")


def check_photos(photos: Sequence[Path]) -> None:
    """Refuse photos of which none is there, before a model is loaded for them."""
    if photos and not any(photo.exists() for photo in photos):
        near = did_you_mean(photos[0].name, neighbours(photos[0]))
        raise PhotoError(f"there is no photo {photos[0]}.{near} Name a photo, or a folder of photos.")


def check_device(name: str) -> None:
    """Refuse what is no name of a device; whether it is here is seen when torch is loaded."""
    if not re.fullmatch(rf"auto|({'|'.join(_DEVICES)})(:\d+)?", name):
        meant = " Did you mean cuda?" if name.lower().startswith(("gpu", "nvidia")) else did_you_mean(name, _DEVICES)
        raise UsageError(f"--device {name}: there is no such device.{meant} There are auto, cpu, cuda, cuda:1, …")


def pairs_of(texts: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Return NAME=VALUE pairs as a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text!r} is no {form}.")
        if name in pairs:
            raise UsageError(f"{option} names {name} twice: {pairs[name]} and {value}.")
        pairs[name] = value
    return pairs


def number_pairs(texts: Sequence[str], option: str, form: str) -> dict[str, float]:
    """Return NAME=NUMBER pairs as a dictionary."""
    numbers = {}
    for name, value in pairs_of(texts, option, form).items():
        with suppress(ValueError):
            numbers[name] = float(value)
        if not math.isfinite(numbers.get(name, math.nan)):
            raise UsageError(f"{option} {name}={value}: {value!r} is no number; it is {form}.")
    return numbers


def check_model_name(name: str | None) -> None:
    """Refuse a name that cannot be a folder's."""
    if name is not None and not re.fullmatch(r"[\w][\w.-]*", name):
        raise UsageError(f"--name {name!r} cannot be a folder name; use letters, digits, '.', '_' and '-'.")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add everything that `train` can be told."""
    data = parser.add_argument_group("data")
    add_faces_options(
        data,
        faces=" made by `agegender prepare`",
        data=" (default: faces drawn here)",
        source=" (default: recognised; without --data, faces are drawn)",
    )
    data.add_argument(
        "--fold", metavar="K", type=int, help="of a table with folds: test on fold K, validate on the next (default: 0)"
    )
    data.add_argument(
        "--folds",
        metavar="K",
        type=int,
        help=f"train K networks ({LEAST_FOLDS} to {MOST_FOLDS}) that answer as one; each photo is judged by the one "
        "that never saw it",
    )
    add_vote_option(data)
    data.add_argument(
        "--balance",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="draw groups of these columns equally often (age_group, gender, ethnicity, …), rare faces again and again",
    )
    _add_heads(parser.add_argument_group("heads"))
    _add_network(parser.add_argument_group("network"))
    _add_settings(parser)
    _add_search(parser.add_argument_group("search"))
    output = parser.add_argument_group("output")
    output.add_argument("--name", help="name of the run (default: size and time); a model of that name is replaced")
    add_folder_option(output, "models")
    add_folder_option(output, "reports")
    add_folder_option(output, "runs", "for TensorBoard")
    output.add_argument("--no-report", action="store_true", help="train only")
    add_no_faces_option(output)


def check_training_options(options: argparse.Namespace) -> None:
    """Refuse values that make no sense."""
    for name, minimum in _LEAST.items():
        value = getattr(options, name)
        if value is not None and value < minimum:
            raise UsageError(f"--{name.replace('_', '-')} {value} is too small; it must be at least {minimum}.")
    for name, maximum in _LARGEST.items():
        if (getattr(options, name) or 0) > maximum:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)} is too large; at most {maximum}.")
    TrainingSettings.of_keywords(settings_given(options), {}).check_with_balance(options.balance)
    if options.minutes is not None and not 0 <= options.minutes < float("inf"):
        raise UsageError(f"--minutes {options.minutes:g} is out of range; it must be 0 or more.")
    check_model_name(options.name)
    check_faces_options(options)
    check_device(options.device)
    _check_weights(options.weights)


def _check_weights(given: str | None) -> None:
    if given in (None, "none", "imagenet") or Path(str(given)).is_file():
        return
    place = Path(str(given))
    if place.is_dir():
        if any(place.glob("*/weights.safetensors")):
            raise WeightsError(f"--weights {place} is an ensemble: name one of the model folders in it.")
        if not any(place.glob("*.safetensors")):
            raise WeightsError(f"--weights {place} is no model folder: it has no weights.safetensors.")
        return
    near = did_you_mean(str(given), ["imagenet", "none", *neighbours(place)])
    raise WeightsError(
        f"--weights {given}: there is no such file.{near} Give imagenet, none, a file or a model folder."
    )


def training_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options as the keywords of `Model.train`."""
    names = ("heads", "size", "body", "weights", "image_size", "balance", "name")
    return (
        {name: getattr(options, name) for name in names}
        | settings_given(options)
        | {
            "allows_sensitive": options.sensitive_head,
            "losses": pairs_of(options.loss, "--loss", "HEAD=LOSS, such as age=l1"),
            "loss_weights": _weights(options.loss_weight),
        }
    )


def settings_given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that are fields of `TrainingSettings`."""
    return {one.name: getattr(options, one.name) for one in fields(TrainingSettings)}


def _weights(texts: Sequence[str]) -> dict[str, float]:
    pairs = pairs_of(texts, "--loss-weight", "HEAD=W, such as age=2")
    try:
        return {head: float(value) for head, value in pairs.items()}
    except ValueError as error:
        raise UsageError(f"--loss-weight {' '.join(texts)}: {error}; give numbers, such as age=2.") from None


def _add_heads(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--heads",
        metavar="NAME",
        nargs="+",
        help="what to predict: columns of the faces table, each NAME, NAME:regression or NAME:classification (default: "
        "age and gender, those that have labels)",
    )
    group.add_argument(
        "--loss",
        metavar="HEAD=LOSS",
        nargs="+",
        action="extend",
        default=[],
        help=f"numbers: {losses_words(REGRESSION_LOSSES)}; classes: {losses_words(CLASSIFICATION_LOSSES)} (default: "
        f"age=soft-labels, else smooth-l1 and cross-entropy)",
    )
    group.add_argument(
        "--loss-weight",
        metavar="HEAD=W",
        nargs="+",
        action="extend",
        default=[],
        help="share of a head in the loss (default: 1; numbers without a distribution 4; dldl-v2 0.2; mean-variance "
        "0.05)",
    )
    group.add_argument(
        "--sensitive-head",
        action="store_true",
        help="allow a head on ethnicity and the like, for research; it is neither exported nor served",
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="; ".join(f"{size}: {body}" for size, body in SIZES.items()) + " (default: small)",
    )
    group.add_argument(
        "--body",
        metavar="NAME",
        help=f"instead of --size: a torchvision ResNet (18 and 34 with {NARROW} have half the channels, with "
        f"{SMALL_STEM} they are for photos below 96 px) or any timm name",
    )
    group.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="first weights; a model folder goes on from that model (default: imagenet with --data or --faces, none "
        "for drawn faces and for narrow and small-stem bodies)",
    )
    group.add_argument(
        "--image-size",
        metavar="PIXELS",
        type=int,
        help=f"side of the square that the network sees (default: {_both('image_size')})",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `TrainingSettings`, in the groups that these name."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    kinds = get_type_hints(TrainingSettings)
    for one in fields(TrainingSettings):
        title = one.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        groups[title].add_argument(f"--{one.name.replace('_', '-')}", **_argument(one, kinds[one.name]))
    _add_legs(groups["training"])


def _argument(one: Field[Any], kind: Any) -> dict[str, Any]:
    """Return how argparse is to read a field; where the default hangs on the data it is None."""
    if kind is bool:
        return {"action": "store_true", "help": one.metadata["help"]}
    is_both = one.name in DRAWN_DEFAULTS
    usual = " ".join(map(str, one.default)) if isinstance(one.default, tuple) else one.default
    plain = _both(one.name) if is_both else ("none" if usual is None or usual == "" else usual)
    said = one.metadata.get("usual", plain)
    given = {"default": None if is_both else one.default, "help": f"{one.metadata['help']} (default: {said})".strip()}
    given |= {name: one.metadata[name] for name in ("metavar", "choices") if name in one.metadata}
    of = get_args(kind) or (kind,)
    if get_origin(kind) is tuple:
        given["nargs"] = "+"
    return given if of[0] is str else given | {"type": of[0]}


def _add_legs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--resume", metavar="NAME", help="go on with the unfinished run of this name, which a stop or a crash has left"
    )
    group.add_argument(
        "--find-rate",
        action="store_true",
        help="train nothing: raise the learning rate for 100 steps, suggest one, and draw the curve into --runs-dir; a "
        "step is one batch, without --accumulate, --clip, --mixup, --l1, --layer-rates and --progressive",
    )
    group.add_argument("--stop-after", metavar="N", type=int, help="stop after N epochs; --resume goes on later")
    group.add_argument(
        "--minutes", metavar="M", type=float, help="stop at the end of the epoch in which M minutes have gone by"
    )
    group.add_argument(
        "--processes", metavar="N", type=int, help="refuse to go on in fewer or more processes than N, see torchrun"
    )


def _add_search(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--search",
        metavar="NAME=VALUES",
        nargs="+",
        default=[],
        help="train --trials short runs instead of one, and say which settings did best: learning_rate=1e-4..1e-2:log "
        "image_size=64,96; any setting of training, image_size, body or size (needs the extra search)",
    )
    group.add_argument(
        "--trials", metavar="N", type=int, help="how many are finished in all; the same command goes on after a stop"
    )
    group.add_argument(
        "--objective",
        metavar="NAME",
        default="loss",
        help="what judges them on validation photos: loss, HEAD.mae or HEAD.accuracy (default: loss)",
    )


def _both(name: str) -> str:
    return f"{OWN_DEFAULTS[name]}, drawn faces {DRAWN_DEFAULTS[name]}"
