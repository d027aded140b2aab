"""The report's tables, from a study's runs."""

from collections.abc import Mapping, Sequence

from labcnn.variants import BLOCKS_PER_STAGE, VARIANTS, label
from labreport import names
from labreport.comparison import test_interval
from labreport.document import Strong, Table
from labreport.findings import compared, effect, original_effect
from labreport.formats import DATASETS, STATUS, p_value, percent, span
from labreport.study import Study, original
from labreport.verdicts import UNDECIDED, Verdict

SPLITS = {"train": "训练集", "val": "验证集", "test": "测试集"}


def parameters(study: Study) -> Table:
    """Data set and hyper-parameters, from the recipe of the runs themselves."""
    recipe, run = study.recipe, next(iter(study.results.values()))
    counts = "；".join(f"{SPLITS[s]} {getattr(run, s).count:,}" for s in SPLITS)
    nesterov = "，Nesterov" if recipe.nesterov else ""
    decay = {
        "plateau": f"验证集准确率连续 {recipe.decay_patience} 轮不提高，"
        f"则乘以 {recipe.decay_factor:g}",
        "one_cycle": "单周期（one-cycle）",
    }
    optimizer = {
        "sgd": f"SGD，动量 {recipe.momentum:g}{nesterov}",
        "adamw": f"AdamW，β₁ = {recipe.momentum:g}，β₂ = 0.999",
        "muon": f"Muon，动量 {recipe.momentum:g}{nesterov}",
    }[recipe.optimizer]
    views = {1: "原图", 2: "原图与镜像的平均", 6: "原图、镜像与平移共六个视图的平均"}
    rows = [
        ("数据集", f"{DATASETS[recipe.dataset]}，{run.classes} 类，64×64 彩色图像"),
        ("图像数", counts),
        ("训练数据所占比例", f"{recipe.fraction * 100:g}%"),
        ("批大小", str(recipe.batch_size)),
        ("输入", "按训练集各通道的均值与标准差标准化"),
        ("初始权重", "卷积为 He 初始化（fan-in），线性层为标准差 0.01 的正态分布"),
        ("损失函数", "交叉熵"),
        ("优化器", f"{optimizer}，权重衰减 {recipe.weight_decay:g}"),
        ("初始学习率", f"{recipe.learning_rate:g}"),
        ("学习率衰减（仅“衰减”与“全部”）", decay[recipe.decay]),
        ("丢弃率（仅“Dropout”与“全部”）", f"{recipe.dropout_rate:g}"),
        ("轮数上限", str(recipe.epochs)),
        ("早停", f"验证集准确率连续 {recipe.patience} 轮不提高即停止，取最佳一轮的权重"),
        ("第一阶段通道数", f"{recipe.width}，其后每阶段加倍"),
        ("数据增强", "有" if recipe.augment else "无"),
        ("标签平滑", f"{recipe.label_smoothing:g}"),
    ]
    if recipe.first_size != recipe.last_size:
        sizes = f"{recipe.first_size} 至 {recipe.last_size} 像素，逐轮增大"
        rows.append(("训练图像边长", sizes))
    elif recipe.last_size != 64:
        rows.append(("图像边长", f"缩小到 {recipe.last_size} 像素"))
    if recipe.whiten:
        rows.append(("首层", "取训练图像的白化变换，不训练"))
    if recipe.test_views > 1:
        rows.append(("评估", views[recipe.test_views]))
    rows.append(("随机种子", "、".join(map(str, study.all_seeds))))
    return Table(("项目", "取值"), rows, "ll")


def networks(study: Study) -> Table:
    """Blocks, parameters and FLOPs of the networks; lr_decay and dropout change neither."""
    rows = []
    for depth, blocks in BLOCKS_PER_STAGE.items():
        for switches in ((), ("norm",), ("residual",), ("norm", "residual")):
            run = next(
                (
                    run
                    for (name, _), run in study.results.items()
                    if VARIANTS[name].depth == depth
                    and tuple(s for s in VARIANTS[name].switches if s in {"norm", "residual"})
                    == switches
                ),
                None,
            )
            if run is None:
                continue
            shown = (
                "、".join({"norm": "归一化", "residual": "残差连接"}[s] for s in switches) or "—"
            )
            rows.append((
                depth, shown, str(blocks), f"{run.model.parameters / 1e6:.3f}",
                f"{run.model.flops / 1e6:.1f}",
            ))  # fmt: skip
    columns = ("深度", "附加模块", "每阶段双卷积数", "参数量 / 百万", "每幅图像前向 FLOPs / 百万")
    return Table(columns, rows, "llrrr")


def variants() -> Table:
    """What the text calls the networks, by the example of the short one."""
    return Table(("本文简称", "原报告的名称", "启用的模块"), names.glossary(), "lll")


def section(study: Study, chosen: Sequence[str]) -> Table:
    """A section's networks: accuracies, the test set's with its 95 % interval, epochs, seconds."""
    rows: list[Sequence[str]] = []
    for variant in chosen:
        runs = study.runs(variant)
        name, status = names.short_name(variant), study.failed(variant)
        if not runs:
            rows.append((name, *["—"] * 3, "", "—", "—", STATUS["missing"]))
            continue
        value, low, high = test_interval(study, variant)
        train, val = (percent(study.mean(variant, f"{s}_accuracy")) for s in ("train", "val"))
        best = span([r.best_epoch for r in runs if r.best_epoch is not None])
        rows.append((
            name, train, val, percent(value), f"[{percent(low)}, {percent(high)}]",
            f"{best} / {span([r.epochs_run for r in runs])}",
            f"{study.mean(variant, 'seconds_per_epoch'):.1f}", STATUS[status or "ok"],
        ))  # fmt: skip
    columns = (
        "网络模型", *SPLITS.values(), "测试集 95% 区间", "最佳轮 / 总轮数", "每轮用时 / 秒", "状态",
    )  # fmt: skip
    return Table(columns, rows, "lrrrlrrl")


def results(study: Study, tuned: Study | None = None) -> Table:
    """A row per variant: accuracies in percent, the best of each marked, the original beside.

    Means over seeds; where there are several, the test accuracy with its standard deviation.
    ``tuned`` is the last row, of another protocol and so never marked as the best.
    """
    old = original()
    best = {
        s: max((study.mean(v, f"{s}_accuracy") for v in study.present), default=0.0) for s in SPLITS
    }
    rows: list[Sequence[str]] = []
    for variant in study.shown:
        past = [percent(old[f"{split}_accuracy"][variant]) for split in SPLITS]
        rows.append((label(variant), *_result(study, variant, best), *past))
    for variant in tuned.present if tuned is not None else ():
        assert tuned is not None
        rows.append((f"{label(variant)}（tuned）", *_result(tuned, variant, {}), *["—"] * 3))
    columns = ("网络模型", *SPLITS.values(), "状态", "原训练", "原验证", "原测试")
    return Table(columns, rows, "lrrrlrrr")


def _result(study: Study, variant: str, best: Mapping[str, float]) -> list[str]:
    cells = []
    for split in SPLITS:
        mean = study.mean(variant, f"{split}_accuracy")
        cells.append((Strong if mean == best.get(split) else str)(percent(mean)))
    if len(study.seeds(variant)) > 1:
        deviation = study.table.loc[study.table["variant"] == variant, "test_accuracy"].std()
        cells[-1] = type(cells[-1])(f"{cells[-1]} ± {percent(deviation)}")
    status = study.failed(variant) or ("ok" if study.seeds(variant) else "missing")
    return [*cells, STATUS[status]]


def claims(verdicts: list[Verdict]) -> Table:
    """The claims, a row per comparison shown: effect with its interval, the original's, verdict.

    The last column's head says so where all verdicts are of a single seed, else each one does.
    """
    rows: list[Sequence[str]] = []
    tested = [verdict for verdict in verdicts if any(f.estimate for f in verdict.findings)]
    alone = bool(tested) and all(verdict.one_seed for verdict in tested)
    for verdict in verdicts:
        claim = verdict.claim
        note = "（单种子）" if verdict.one_seed and not alone else ""
        first = (
            f"{claim.sections[0]} {claim.title}",
            p_value(verdict.p_adjusted) if verdict.tested or verdict.verdict != UNDECIDED else "—",
            Strong(f"{verdict.verdict}{note}"),
        )
        for place, finding in enumerate(verdict.shown):
            text, p, word = ("", "", "") if place else first
            past = original_effect(finding) or ("" if place else claim.original or "—")
            compare, found = (names.shortened(t) for t in (compared(finding), effect(finding)))
            rows.append((text, compare, found, past, p, word))
    last = "单种子结论" if alone else "结论"
    return Table(("论断", "比较", "效应 [95% 区间]", "原报告", "p", last), rows, "lllrrl")
