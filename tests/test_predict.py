"""A run's net, saved and loaded again."""

import json

import numpy as np
import pytest
import torch
from training_requests import request

import labcnn
from labcnn.data.batches import Batches
from labcnn.errors import ParameterError, RunError
from labcnn.training import hardware, trainer
from labcnn.training.trainer import fit


@pytest.mark.parametrize(
    "parameters",
    [
        {"variant": "short_all", "optimizer": "muon", "whiten": True, "precision": "bf16"},
        {"variant": "short_norm", "precision": "fp64", "test_views": 6, "last_size": 48},
    ],
)
def test_a_loaded_net_gives_the_runs_predictions(small_data, parameters):
    wanted = request(**parameters, epochs=1)
    fit(wanted, small_data)
    expected = wanted.folder.predictions()
    torch.manual_seed(3)
    for run in (wanted.folder, wanted.folder.path, str(wanted.folder.path)):
        net = labcnn.load_model(run)
        assert not any(module.training for module in net.modules())
        assert net.class_names == small_data.class_names and net.recipe == wanted.recipe
        for name, split in (("val", small_data.val), ("test", small_data.test)):
            probability, predicted = net(split.images).max(1)
            of_label = net(split.images)[np.arange(len(split)), split.labels]
            assert np.array_equal(predicted.numpy(), expected[f"{name}_predicted"])
            assert np.array_equal(probability.float().numpy(), expected[f"{name}_probability"])
            # the label's comes from its loss, which rounds once more
            np.testing.assert_allclose(
                of_label.float().numpy(), expected[f"{name}_label_probability"], rtol=1e-6
            )


def test_what_is_no_model_or_no_image_is_named_in_one_line(small_data, tmp_path):
    with pytest.raises(AttributeError, match="load_modle"):
        _ = labcnn.load_modle
    with pytest.raises(RunError, match=r"nowhere: there is no such run"):
        labcnn.load_model(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"model\.safetensors is missing; .* train the run anew"):
        labcnn.load_model(tmp_path)
    folder = request(epochs=1).folder
    fit(request(epochs=1), small_data)
    net = labcnn.load_model(folder)
    wrong = (2, 32, 32, 3), (0, 64, 64, 3)
    for images in (*(np.zeros(s, np.uint8) for s in wrong), np.zeros((2, 64, 64, 3), np.float32)):
        with pytest.raises(RunError, match="valid: N x 64 x 64 x 3, uint8"):
            net(images)
    path = folder.path / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-10], b"x" * 1000):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"model\.safetensors: cut or no model") as error:
            labcnn.load_model(folder)
        assert "\n" not in str(error.value)


def test_emulated_bfloat16_is_said_before_training(small_data, monkeypatch, capsys):
    for module in (hardware, trainer):
        monkeypatch.setattr(module, "fast_bf16", lambda device: False)
    assert fit(request(epochs=1, experiment="auto"), small_data).provenance.precision == "fp32"
    assert "slower" not in capsys.readouterr().out
    assert fit(request(epochs=1, precision="bf16"), small_data).provenance.precision == "bf16"
    first = capsys.readouterr().out.splitlines()[0]
    assert "precision=bf16" in first and "slower than fp32" in first


def test_float64_is_not_on_every_device(monkeypatch):
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    with pytest.raises(ParameterError, match="precision='fp64' isn't on device mps; valid: auto"):
        hardware.choose_hardware("mps", "fp64")
    assert hardware.choose_hardware("auto", "fp64").device.type != "mps"


@pytest.mark.system
def test_onnx_gives_the_same_logits_for_other_numbers_of_images(small_data, tmp_path):
    wanted = request(variant="short_all", epochs=1)
    fit(wanted, small_data)
    model = labcnn.load_model(wanted.folder)
    model.export_onnx(tmp_path / "net.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    batches = Batches(small_data.test, model.mean, model.std, torch.device("cpu"))
    images, _ = batches.take(torch.arange(5), model.recipe.last_size)
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        assert np.abs(logits - model.net(images).numpy()).max() < 1e-4
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["class_names"]) == list(small_data.class_names)
    assert json.loads(notes["mean"]) == model.mean.tolist()
