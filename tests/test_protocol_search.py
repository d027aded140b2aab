"""The search behind the protocol: what its table reads from the names of its folders."""

import protocol_search
import pytest


@pytest.mark.parametrize("rate", [0.01, 5e-05, 1.0])
def test_the_table_reads_every_rate(tmp_path, monkeypatch, rate):
    monkeypatch.setattr(protocol_search, "FOLDER", tmp_path)
    run = tmp_path / f"adamw-lr{rate:g}-he_fan_in-18000x4" / "short_baseline" / "seed0"
    run.mkdir(parents=True)
    (run / "history.csv").write_text("train_loss,val_accuracy\n5.25,0.017\n", encoding="utf-8")
    (row,) = protocol_search.table().to_dict("records")
    assert (row["net"], row["optimiser"], row["rate"]) == ("short_baseline", "adamw", rate)
    assert (row["initialisation"], row["images"]) == ("he_fan_in", "18000")
    assert row["epochs"] == "1 of 4"
    assert "5.25 / 1.7" in row.values()
