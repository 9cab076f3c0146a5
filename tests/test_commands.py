"""Every command: its help is instant because nothing heavy is imported for it, and it takes --json."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from agegender.__main__ import COMMANDS, main

HEAVY = ("numpy", "pandas", "torch", "fastai", "cv2", "matplotlib", "PIL", "scipy", "sklearn", "lime")
SLOW_BESIDE_TORCH = ("fastai", "matplotlib", "sklearn", "torchvision", "timm", "lime", "captum", "scipy", "skimage")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    look = f"import sys; from agegender import {command}; {command}.build_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert not set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(command: str) -> None:
    parser = importlib.import_module(f"agegender.{command}").build_parser()
    assert "--json" in parser.format_help()
    assert [action.dest for action in parser._actions if not action.help] == []


def test_the_program_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {command}" in listed for command in COMMANDS)
    assert main([]) == 2
    assert main(["juggle"]) == 2
    assert "juggle" in capsys.readouterr().err


def test_a_prediction_imports_nothing_that_it_does_not_need() -> None:
    """Loading fastai, scikit-learn or matplotlib takes longer than predicting a photo."""
    look = (
        "import sys; from agegender.api.model import Model; from agegender import predict; print(*sys.modules)\n"
        "from agegender.model import checkpoint, torch_runtime; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    before, with_torch = done.stdout.splitlines()
    assert not {"torch", "onnxruntime", *SLOW_BESIDE_TORCH} & set(before.split())
    assert not set(SLOW_BESIDE_TORCH) & set(with_torch.split())


def test_a_model_is_loaded_without_drawing_weights_or_importing_more_of_torch() -> None:
    look = (
        "import sys, torch; from agegender.model.checkpoint import Undrawn\n"
        "from agegender.model.network import make_network, Statistics; from agegender.heads import KNOWN_HEADS\n"
        "before = torch.get_rng_state()\n"
        "with Undrawn(), torch.device('meta'): make_network('resnet18', KNOWN_HEADS, {'age': Statistics(30.0, 9.0)})\n"
        "with Undrawn(): make_network('resnet18', KNOWN_HEADS, {'age': Statistics(30.0, 9.0)})\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert not {"sympy", "triton", "torch.distributed.tensor"} & set(done.stdout.split())
