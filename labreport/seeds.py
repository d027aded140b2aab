"""How much chance decides: the same network trained from several seeds."""

import math

from labreport import looks
from labreport.captioned import Captioned
from labreport.document import Prose
from labreport.names import short_name
from labreport.study import Study

FEWEST = 2


def repeated(study: Study) -> list[str]:
    """The variants with at least two seeds."""
    return [v for v in study.present if len(study.seeds(v)) >= FEWEST]


def deviation(study: Study, variant: str) -> float:
    """Standard deviation of the test accuracy over the seeds."""
    return float(study.table.loc[study.table["variant"] == variant, "test_accuracy"].std())


def sampling(study: Study, variant: str) -> float:
    """Standard deviation of a test accuracy that the choice of test images alone would cause."""
    mean, count = study.mean(variant, "test_accuracy"), study.runs(variant)[0].test.count
    return math.sqrt(mean * (1 - mean) / count)


def spread(study: Study) -> Captioned | Prose:
    """Each seed's distance from its variant's mean (left), standard deviations (right)."""
    variants = repeated(study)
    if not variants:
        return Prose("每个模型只有一个随机种子，种子之间的差异无从估计，相应的图从略。")
    figure, [[left, right]] = looks.figure(
        1, 2, height=0.9 + 0.22 * len(variants), sharey="row", width_ratios=[1.3, 1]
    )
    for row, variant in enumerate(variants):
        mean, colour = study.mean(variant, "test_accuracy"), looks.colour(variant)
        values = [(run.test.accuracy - mean) * 100 for run in study.runs(variant)]
        left.plot(
            values, [row] * len(values), color=colour, marker=looks.marker(variant),
            markersize=4, alpha=0.75, linestyle="none",
        )  # fmt: skip
        right.barh(row, deviation(study, variant) * 100, height=0.6, color=colour)
        right.plot(
            sampling(study, variant) * 100, row, color="black", marker="|", markersize=9,
            linestyle="none", label="只由测试图像的抽样引起" if row == 0 else None,
        )  # fmt: skip
    left.axvline(0, color=looks.GREY, linewidth=0.8, linestyle="-", zorder=0)
    reach = 1.15 * max(map(abs, left.get_xlim()))
    left.set(xlim=(-reach, reach), xlabel="与各种子均值之差 / 百分点")
    left.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    left.set_ylim(len(variants) - 0.4, -0.6)
    right.set(xlabel="测试集准确率的标准差 / 百分点", xlim=(0, None))
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right")
    return Captioned(
        figure, "fig-seeds", "种子之间的差异：各种子与均值之差（左），测试集准确率的标准差（右）"
    )


def text(study: Study) -> Prose:
    """The spread in numbers, and what it means for comparisons; nothing with one seed each."""
    variants = repeated(study)
    if not variants:
        return Prose("")
    found = {v: deviation(study, v) for v in variants}
    least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    beyond = sum(found[v] > 2 * sampling(study, v) for v in variants)
    return Prose(
        f"@fig-seeds 中有 {len(variants)} 个模型训练了多个种子。测试集准确率在种子之间的标准差，"
        f"最小为 {found[least] * 100:.2f} 个百分点（{short_name(least)}），"
        f"最大为 {found[most] * 100:.2f} 个百分点（{short_name(most)}）；"
        f"其中 {beyond} 个模型的标准差超过只由测试图像抽样引起的两倍。"
        "比较两个模型时，与种子间的差异相当或更小的差值不足为据。"
    )
