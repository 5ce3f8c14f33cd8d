"""CMSIS-NN as a peer of our C, in ``scripts/``: which version is taken, and how its kernels are called."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import nets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_target_net import int8

from aed.base.errors import AedError
from aed.target.codegen.generate import net_sources
from aed.target.codegen.library import Library
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import make_plan


def script(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


peer = script("peer_cmsis_nn")


def checkout(folder: Path, revision: str) -> Path:
    (folder / "Include").mkdir()
    (folder / "Include/arm_nnfunctions.h").write_text(f"/* $Date: 1 May 2026\n * $Revision:    {revision} */\n")
    return folder


@pytest.mark.parametrize("revision", ["V.18.0.0", "V.19.1.00", "V.119.1.0", ""])
def test_another_version_of_cmsis_nn_is_refused(tmp_path, revision):
    found = revision or "none"
    message = (
        rf"^--cmsis-nn .*: need revision V\.19\.1\.0 of arm_nnfunctions\.h, found {found}; type git -C .* checkout"
    )
    with pytest.raises(AedError, match=message) as caught:
        peer.find_cmsis_nn(checkout(tmp_path, revision))
    assert "\n" not in str(caught.value)


def test_the_version_whose_functions_are_called_is_taken(tmp_path):
    assert f"-I{tmp_path}/Include" in peer.find_cmsis_nn(checkout(tmp_path, peer.REVISION)).options


def test_a_folder_without_cmsis_nn_is_refused(tmp_path):
    with pytest.raises(AedError, match=r"no Include/arm_nnfunctions\.h; give ARM-software/CMSIS-NN, checked out at"):
        peer.find_cmsis_nn(tmp_path)


@given(st.floats(1e-7, 100))
def test_a_multiplier_and_a_shift_are_the_factor_to_31_bits(factor):
    multiplier, shift = peer.multiplier_and_shift(factor)
    assert 2**30 <= multiplier < 2**31
    assert math.isclose(multiplier * 2.0 ** (shift - 31), factor, rel_tol=2**-31)


def test_a_kernel_of_cmsis_nn_makes_its_whole_image_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "_sizes", lambda library, folder: None)
    monkeypatch.setattr(peer, "_buffers", lambda *arguments: (0, 0))
    own = lower(int8(nets.settled(nets.PreActivation())))
    program = peer.calling_cmsis_nn(own, Library((), ()), tmp_path)
    plan = make_plan(program)
    ours = set(map(id, own.layers))
    called = [stage for stage in plan.schedule.stages if id(stage.layer) not in ours]
    assert {stage.layer.kind for stage in called} == {"conv", "depthwise", "max_pool", "add", "dense"}
    for stage in called:
        assert stage.rows == program.tensors[stage.layer.output].shape[0]
        assert all(read.whole for read in stage.reads)
    assert {layer.kind: layer.macc(program) for layer in program.layers} == {
        layer.kind: layer.macc(own) for layer in own.layers
    }
    source = net_sources(program, plan)["aed_net.c"]
    for kernel, kind in (("convolve_wrapper", "conv"), ("elementwise_add", "add"), ("max_pool", "max_pool")):
        assert source.count(f"arm_{kernel}_s8(") == sum(stage.layer.kind == kind for stage in called)
