"""What the training notebook says of a run."""

from fake_runs import write_runs

from labcnn import show
from labcnn.request import RunRequest
from labcnn.training.trainer import fit


def test_demo_data_is_named_without_a_claim_about_what_is_prepared():
    """Also said where Tiny ImageNet is prepared and somebody chose the demo set."""
    small = {"variant": "short_all", "dataset": "shapes"}
    text = show.describe(RunRequest.from_parameters(small)).data
    assert "Demo data" in text and "演示数据" in text
    assert "prepared" not in text and "未找到" not in text
    real = show.describe(RunRequest.from_parameters(small | {"dataset": "tiny-imagenet-200"})).data
    assert "Demo data" not in real


def test_a_run_without_a_best_epoch_says_so(small_data, capsys):
    wanted = RunRequest.from_parameters(
        {"variant": "short_baseline", "dataset": "shapes", "width": 4, "learning_rate": 100.0,
         "batch_size": 2, "epochs": 1}
    )  # fmt: skip
    assert fit(wanted, small_data).best_epoch is None
    table = show.summary(wanted.folder)
    said = capsys.readouterr().out
    assert "diverged" in said and "best epoch none of 1" in said
    assert table.shape == (3, 3)


def test_a_p_value_below_every_float_is_not_said_to_be_zero(tmp_path, capsys):
    (folder,) = write_runs(tmp_path, ["short_all"])
    path = folder.path / "result.json"
    for said, shown in (("p = 0 against", "p < 2e-308 against"), ("p = 0.3 against",) * 2):
        result = folder.result().model_copy(update={"reason": f"9 right, {said} chance"})
        path.write_text(result.model_dump_json(), encoding="utf-8")
        show.summary(folder)
        assert shown in capsys.readouterr().out
