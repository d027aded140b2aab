"""The report's sentences that depend on numbers, written with the numbers in them."""

import re
from collections import Counter

from labcnn.analysis import statistics
from labcnn.analysis.document import FrontMatter, Prose, escape
from labcnn.analysis.findings import sentence
from labcnn.analysis.formats import p_value, percent
from labcnn.analysis.study import Study, original
from labcnn.analysis.verdicts import FAILS, HOLDS, UNDECIDED, Verdict
from labcnn.failure import Failure
from labcnn.variants import REPORT_VARIANTS, VARIANTS, label

FAILURES = {"error": "出错", "died": "内核中止", "time limit": "超过时限"}
#: A path from the root of a disk; a report names no place on the machine that made it.
ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:/|[A-Za-z]:[\\/])[^\s:;,'\"]*[\\/][^\s:;,'\"]*")


def front_matter(study: Study, **lines: str) -> FrontMatter:
    """Title block with the notice that this study's data and effort call for."""
    return FrontMatter(**lines, notice=notice(study))


def notice(study: Study) -> str:
    """What every page must say of a report that isn't the full experiment; empty for that."""
    recipe = study.recipe
    reduced = []
    if recipe.fraction < 1:
        reduced.append(f"{recipe.fraction * 100:g}% 的训练数据")
    if recipe.epochs < recipe.defaults["epochs"]:
        reduced.append(f"{recipe.epochs} 轮")
    parts = []
    if recipe.dataset == "shapes":
        parts.append("演示数据：本报告由内置演示数据集 shapes 生成，不是 Tiny ImageNet 的结果")
    if reduced:
        parts.append(f"缩减的实验：仅用 {'、'.join(reduced)}")
    return "；".join(parts)


def completeness(study: Study) -> Prose:
    """What the report was made from, which variants are missing, which files were left out."""
    seeds = study.all_seeds
    lines = [
        f"本报告由实验 {escape(study.experiment)} 的 {len(study.results)} 次运行自动生成"
        f"（{len(study.present)} 个模型，随机种子 {'、'.join(map(str, seeds))}），"
        "文中的数字与结论都由运行记录计算得出。"
    ]
    if study.missing:
        names = "、".join(escape(label(v)) for v in study.missing)
        lines.append(
            f"**未完成**：{len(REPORT_VARIANTS)} 个模型中有 {len(study.missing)} 个没有结果，"
            f"即 {names}；以下图表与结论只依据已有的运行。"
        )
    elif len(study.results) < len(REPORT_VARIANTS) * len(seeds):
        few = [v for v in REPORT_VARIANTS if len(study.seeds(v)) < len(seeds)]
        names = "、".join(f"{escape(label(v))}（{len(study.seeds(v))} 个）" for v in few)
        lines.append(f"**未完成**：部分模型的种子数少于 {len(seeds)} 个，即 {names}。")
    if study.failures:
        listed = "\n".join(_failed_run(*key, failure) for key, failure in study.failures.items())
        lines.append(f"**失败的运行**：以下运行没有结果，原因如下。\n\n{listed}")
    if study.changed_code:
        names = "、".join(escape(name) for name in study.changed_code)
        lines.append(f"**代码不一致**：各次运行之间，训练代码 {names} 有过改动。")
    if study.problems:
        listed = "\n".join(f"- {escape(problem)}" for problem in study.problems)
        lines.append(f"**未采用的文件**：以下文件不完整或不属于本实验，没有计入。\n\n{listed}")
    return Prose("\n\n".join(lines))


def _failed_run(variant: str, seed: int, failure: Failure) -> str:
    """``- Longbaseline，种子 0：出错（第 2 次尝试）：…``, without the machine's paths."""
    message = ABSOLUTE_PATH.sub(lambda found: re.split(r"[\\/]", found[0])[-1], failure.message)
    name = label(variant) if variant in VARIANTS else variant
    return (
        f"- {escape(name)}，种子 {seed}：{FAILURES[failure.kind]}"
        f"（第 {failure.attempt} 次尝试）：{escape(message)}"
    )


def section(study: Study, verdicts: list[Verdict], number: str, variants: list[str]) -> Prose:
    """A section's findings: each variant's accuracy, what failed, and its claims' verdicts."""
    blocks = [_accuracies(study, variants), _failures(study, variants)]
    for verdict in verdicts:
        if verdict.claim.sections[0] == number:
            blocks.append(judged(verdict))
        elif number in verdict.claim.sections:
            blocks.append(
                f"论断“{escape(verdict.claim.title)}”已在第 {verdict.claim.sections[0]} 节核验："
                f"**{verdict.verdict}**。"
            )
    return Prose("\n\n".join(block for block in blocks if block))


def _accuracies(study: Study, variants: list[str]) -> str:
    there = [v for v in variants if study.seeds(v)]
    missing = [v for v in variants if not study.seeds(v)]
    sentences = []
    if there:
        parts = [_accuracy(study, v) for v in there]
        sentences.append(f"测试集准确率：{'；'.join(parts)}。")
    if missing:
        names = "、".join(escape(label(v)) for v in missing)
        sentences.append(f"{names} 未完成，不在图中。")
    return "".join(sentences)


def _accuracy(study: Study, variant: str) -> str:
    runs = study.runs(variant)
    mean = percent(study.mean(variant, "test_accuracy"))
    name = escape(label(variant))
    if len(runs) > 1:
        low, high = (f([r.test.accuracy for r in runs]) for f in (min, max))
        return f"{name} {mean}%（{len(runs)} 个种子，{percent(low)}%–{percent(high)}%）"
    run = runs[0]
    low, high = statistics.wilson(round(run.test.accuracy * run.test.count), run.test.count)
    best = f"第 {run.best_epoch} 轮最佳，" if run.best_epoch else ""
    return (
        f"{name} {mean}%（95% 区间 {percent(low)}%–{percent(high)}%；"
        f"{best}共训练 {run.epochs_run} 轮）"
    )


def _failures(study: Study, variants: list[str]) -> str:
    sentences = []
    for variant in variants:
        name, runs = escape(label(variant)), study.runs(variant)
        for status, text in (
            ("diverged", "的损失出现非有限值，训练发散而中止"),
            ("no_learning", "训练结束，但准确率与随机猜测没有显著差别，即没有学到东西"),
        ):
            seeds = [run.recipe.seed for run in runs if run.status == status]
            if seeds:
                which = f"（种子 {'、'.join(map(str, seeds))}）" if len(study.all_seeds) > 1 else ""
                epochs = "、".join(str(r.epochs_run) for r in runs if r.status == status)
                sentences.append(
                    f"{name} {text}{which}：训练了 {epochs} 轮，"
                    f"随机猜测的准确率为 {percent(study.chance)}%。"
                )
    return "".join(sentences)


def judged(verdict: Verdict) -> str:
    """One claim: its text, the findings, and what they amount to."""
    told = [f for f in verdict.shown if f.estimate or f.reason not in verdict.reason]
    evidence = "；".join(escape(sentence(finding)) for finding in told)
    evidence += "。" if evidence else ""
    claim = escape(verdict.claim.text)
    p = escape(p_value(verdict.p_adjusted))
    end = {
        HOLDS: f"这支持原报告的说法（校正后 p {_equals(p)}）。",
        FAILS: f"这与原报告的说法相反（校正后 p {_equals(p)}）。",
        UNDECIDED: f"现有数据不足以判断：{escape(verdict.reason)}。",
    }[verdict.verdict]
    title = escape(verdict.claim.title)
    return f"**{title}**　论断“{claim}”：**{verdict.verdict}**。{evidence}{end}"


def _equals(p: str) -> str:
    return p if p.startswith("\\<") else f"= {p}"


def scope(study: Study) -> Prose:
    """What the intervals cover, and how the verdicts were reached."""
    if len(study.all_seeds) == 1:
        covers = (
            "每个模型只有一个随机种子，因此准确率的区间只反映测试图像的抽样误差，"
            "不包含换一个种子重新训练所带来的差别；梯度与用时的区间只反映各轮之间的波动；"
            "需要多个种子才能估计的量不给区间，相应的论断记为证据不足。"
        )
    else:
        covers = (
            f"共有 {len(study.all_seeds)} 个随机种子；准确率之差按种子与测试图像两个随机因素估计，"
            "其余的量按种子配对用 t 区间估计。"
        )
    return Prose(
        covers
        + "准确率之差以百分点计，其余以比值或轮数计。由多项比较组成的论断，各项都显著支持才算成立，"
        "有一项显著相反即不成立，其余为证据不足；p 值用 Holm 方法对全部论断校正，显著性水平为 "
        f"{statistics.ALPHA * 100:g}%，区间未作校正。"
    )


def summary(study: Study, verdicts: list[Verdict]) -> Prose:
    """Ranking, the original's ranking, the count of verdicts."""
    ranked = sorted(study.present, key=lambda v: study.mean(v, "test_accuracy"), reverse=True)
    best, worst = ranked[0], ranked[-1]
    old = original()["test_accuracy"]
    counts = Counter(v.verdict for v in verdicts)
    sentences = [
        f"已完成的 {len(ranked)} 个模型中，测试集准确率最高的是 {_with_score(study, best)}，"
        f"最低的是 {_with_score(study, worst)}；随机猜测为 {percent(study.chance)}%。"
        if len(ranked) > 1
        else f"目前只有 {_with_score(study, best)} 一个模型完成。",
        f"原报告中最高的是 {escape(label(str(old.idxmax())))}（{percent(float(old.max()))}%），"
        f"最低的是 {escape(label(str(old.idxmin())))}（{percent(float(old.min()))}%）。",
        f"原报告的 {len(verdicts)} 条论断中，{counts[HOLDS]} 条成立，{counts[FAILS]} 条不成立，"
        f"{counts[UNDECIDED]} 条证据不足，逐条结果见 @tbl-claims。",
    ]
    if notice(study):
        sentences.append(f"注意：{escape(notice(study))}，因此与原报告的数字不能直接相比。")
    return Prose("".join(sentences))


def _with_score(study: Study, variant: str) -> str:
    return f"{escape(label(variant))}（{percent(study.mean(variant, 'test_accuracy'))}%）"
