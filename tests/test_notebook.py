"""What the training notebook says of a run."""

from labcnn import notebook
from labcnn.request import RunRequest
from labcnn.training.trainer import fit


def test_demo_data_is_named_without_a_claim_about_what_is_prepared():
    """Also said where Tiny ImageNet is prepared and somebody chose the demo set."""
    small = {"variant": "short_all", "dataset": "shapes"}
    text = notebook.describe_request(RunRequest.from_parameters(small)).data
    assert "Demo data" in text and "演示数据" in text
    assert "prepared" not in text and "未找到" not in text
    real = notebook.describe_request(
        RunRequest.from_parameters(small | {"dataset": "tiny-imagenet-200"})
    ).data
    assert "Demo data" not in real


def test_a_run_without_a_best_epoch_says_so(small_data, capsys):
    wanted = RunRequest.from_parameters(
        {"variant": "short_baseline", "dataset": "shapes", "width": 4, "learning_rate": 100.0,
         "batch_size": 2, "epochs": 1}
    )  # fmt: skip
    assert fit(wanted, small_data).best_epoch is None
    table = notebook.tabulate_result(wanted.folder)
    said = capsys.readouterr().out
    assert "diverged" in said and "best epoch none of 1" in said
    assert table.shape == (3, 3)
