"""Tuning without a GPU: what is asked for is checked, and what is missing is named."""

import json

import pytest

import ggemm

LAYER = {"name": "layer", "groups": 8, "m": 512, "n": 64, "k": 64}


def refused(**arguments):
    with pytest.raises(ggemm.ArgumentError) as raised:
        ggemm.tune(device="cpu", **arguments)
    return str(raised.value)


def test_wrong_layers_are_named():
    assert "nothing to tune" in refused()
    assert "missing field `k`" in refused(layers=[{key: LAYER[key] for key in ("name", "groups", "m", "n")}])
    assert "layer forward: 1 sizes for 8 groups" in refused(layers=[LAYER | {"sizes": [512]}])
    assert "`zip` is not a spread" in refused(layers=[LAYER | {"spread": "zip"}])
    assert 'w_layout is "kk"' in refused(layers=[LAYER], w_layout="kk")


def test_a_model_is_read(tmp_path):
    config = tmp_path / "config.json"
    assert "belong together" in refused(model=config)
    assert "cannot be read" in refused(model=config, tokens=64)
    config.write_text(json.dumps({"hidden_size": 64}))
    assert "has no" in refused(model=config, tokens=[64, 512])
    shape = {"hidden_size": 64, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2}
    config.write_text(json.dumps(shape))
    assert "8 experts do not divide among 3 GPUs" in refused(model=config, tokens=64, expert_parallel=3)


def test_without_a_gpu_it_says_what_it_needs(tmp_path):
    table = tmp_path / "table.jsonl"
    with pytest.raises(ggemm.DeviceError, match="tuning needs a GPU, and the planner's device is cpu"):
        ggemm.tune([LAYER], device="cpu", table=table)
    assert not table.exists()
