"""The report's tables, from a study's runs."""

from collections.abc import Callable, Sequence

from labcnn.analysis.document import Strong, Table
from labcnn.analysis.findings import compared, effect, original_effect
from labcnn.analysis.formats import DATASETS, STATUS, p_value, percent
from labcnn.analysis.study import Study, original
from labcnn.analysis.verdicts import Verdict
from labcnn.variants import BLOCKS_PER_STAGE, REPORT_VARIANTS, VARIANTS, label

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
    optimizer = {"sgd": "SGD", "muon": "Muon"}[recipe.optimizer]
    decayed = f"{recipe.weight_decay:g}"
    views = {1: "原图", 2: "原图与镜像的平均", 6: "原图、镜像与平移共六个视图的平均"}
    rows = [
        ("数据集", f"{DATASETS[recipe.dataset]}，{run.classes} 类，64×64 彩色图像"),
        ("图像数", counts),
        ("训练数据所占比例", f"{recipe.fraction * 100:g}%"),
        ("批大小", str(recipe.batch_size)),
        ("优化器", f"{optimizer}，动量 {recipe.momentum:g}{nesterov}，权重衰减 {decayed}"),
        ("学习率", f"{recipe.learning_rate:g}"),
        ("学习率衰减（lr_decay 打开时）", decay[recipe.decay]),
        ("丢弃率（dropout 打开时）", f"{recipe.dropout_rate:g}"),
        ("轮数上限", str(recipe.epochs)),
        ("提前停止", f"验证集准确率连续 {recipe.patience} 轮不提高即停止，取最佳一轮的权重"),
        ("第一阶段通道数", f"{recipe.width}，其后每阶段加倍"),
        ("数据增强", "有" if recipe.augment else "无"),
        ("标签平滑", f"{recipe.label_smoothing:g}"),
    ]
    if recipe.first_size != recipe.last_size:
        sizes = f"{recipe.first_size} 至 {recipe.last_size} 像素，逐轮增大"
        rows.append(("训练图像边长", sizes))
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


def results(study: Study) -> Table:
    """The 13 rows: accuracies in percent, the best of each column marked, the original beside.

    Means over seeds; where there are several, the test accuracy with its standard deviation.
    """
    old = original()
    best = {s: max(study.mean(v, f"{s}_accuracy") for v in study.present) for s in SPLITS}
    rows: list[Sequence[str]] = []
    for variant in REPORT_VARIANTS:
        cells = []
        for split in SPLITS:
            mean = study.mean(variant, f"{split}_accuracy")
            cells.append((Strong if mean == best[split] else str)(percent(mean)))
        if len(study.seeds(variant)) > 1:
            deviation = study.table.loc[study.table["variant"] == variant, "test_accuracy"].std()
            cells[-1] = type(cells[-1])(f"{cells[-1]} ± {percent(deviation)}")
        status = study.failed(variant) or ("ok" if study.seeds(variant) else "missing")
        past = [percent(old[f"{split}_accuracy"][variant]) for split in SPLITS]
        rows.append((label(variant), *cells, STATUS[status], *past))
    columns = ("网络模型", *SPLITS.values(), "状态", "原训练", "原验证", "原测试")
    return Table(columns, rows, "lrrrlrrr")


def claims(verdicts: list[Verdict]) -> Table:
    """The claims, a row per comparison shown: effect with its interval, the original's, verdict."""
    rows: list[Sequence[str]] = []
    for verdict in verdicts:
        claim = verdict.claim
        first = (
            f"{claim.sections[0]} {claim.title}",
            p_value(verdict.p_adjusted),
            Strong(verdict.verdict),
        )
        for place, finding in enumerate(verdict.shown):
            text, p, word = ("", "", "") if place else first
            past = original_effect(finding) or ("" if place else claim.original or "—")
            rows.append((text, compared(finding), effect(finding), past, p, word))
    return Table(("论断", "比较", "效应 [95% 区间]", "原报告", "p", "结论"), rows, "lllrrl")


def reproduction(study: Study) -> Table:
    """What the runs were made with; a field in which they differ shows all its values."""
    runs = list(study.results.values())

    def each(value: Callable[..., object]) -> str:
        return "、".join(sorted({str(value(run)) for run in runs}))

    packages = sorted({name for run in runs for name in run.provenance.versions})
    rows = [
        ("实验", study.experiment),
        ("运行数", f"{len(runs)}（{len(study.present)} / {len(REPORT_VARIANTS)} 个模型）"),
        ("数据指纹", each(lambda r: r.provenance.data_fingerprint[:16])),
        ("代码版本", each(lambda r: _commit(r.provenance.git_commit, r.provenance.git_dirty))),
        ("设备", each(lambda r: f"{r.provenance.device_name}（{r.provenance.device}）")),
        ("数值精度", each(lambda r: r.provenance.precision)),
        ("线程数", each(lambda r: r.provenance.threads)),
        ("训练总用时 / 秒", f"{sum(r.timing.train_seconds for r in runs):,.0f}"),
        *(
            (name, each(lambda r, name=name: r.provenance.versions.get(name, "—")))
            for name in packages
        ),
        ("重新运行的命令", command(study)),
    ]
    return Table(("项目", "取值"), rows, "ll")


def _commit(commit: str | None, dirty: bool | None) -> str:
    return f"{commit[:12]}{'（有未提交的改动）' if dirty else ''}" if commit else "未知"


def command(study: Study) -> str:
    """The command that makes these runs and this report again."""
    recipe = study.recipe
    parts = [f"make report DATASET={recipe.dataset}"]
    usual = {**recipe.defaults, "protocol": "course"}
    changed = {k: getattr(recipe, k) for k, v in usual.items() if getattr(recipe, k) != v}
    for name in ("fraction", "epochs"):
        if name in changed:
            parts.append(f"{name.upper()}={changed.pop(name):g}")
    if changed:
        parts.append(f'PARAMS="{" ".join(f"{k}={v}" for k, v in changed.items())}"')
    if study.all_seeds != [0]:
        parts.append(f'SEEDS="{" ".join(map(str, study.all_seeds))}"')
    return " ".join(parts)
