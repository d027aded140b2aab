"""The search behind the protocol: what its table reads from the names of its folders."""

import protocol_search


def test_the_table_reads_every_rate(tmp_path, monkeypatch):
    rate = 5e-05  # written with an exponent
    monkeypatch.setattr(protocol_search, "FOLDER", tmp_path)
    run = tmp_path / f"adamw-lr{rate:g}-he_fan_in-18000x4" / "short_baseline" / "seed0"
    run.mkdir(parents=True)
    (run / "history.csv").write_text(
        "epoch,train_loss,val_accuracy\n1,5.25,0.017\n", encoding="utf-8"
    )
    (one,) = protocol_search.candidates()
    assert (one["net"], one["optimiser"], one["rate"]) == ("short", "AdamW", rate)
    assert (one["images"], one["epochs"]) == ("18000", "4")
    assert f"| short | AdamW | {rate:g} | he fan in | 5.25 / 1.7 |" in protocol_search.table()
    protocol_search.draw(tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
