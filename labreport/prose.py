"""The report's sentences that depend on numbers, written with the numbers in them."""

from collections import Counter

from labcnn.runs import Failure
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labreport.document import FrontMatter, Prose, escape
from labreport.export.pandoc import without_paths
from labreport.formats import percent
from labreport.names import listed as all_of
from labreport.names import short_name
from labreport.study import Study, original
from labreport.verdict_prose import judged, scope, section
from labreport.verdicts import FAILS, HOLDS, UNDECIDED, Verdict

__all__ = ["completeness", "front_matter", "judged", "notice", "scope", "section", "summary"]

FAILURES = {"error": "出错", "died": "内核中止", "time limit": "超过时限"}


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
    if len(seeds) == 1:
        lines.append(
            "**每个模型只训练了一次**：结论只就这些训练好的网络而言。换一个种子重新训练，"
            "准确率也会变化，一个种子看不出这种变化有多大；要比较模型本身，至少需要三个种子。"
        )
    if study.missing:
        names = escape(all_of(study.missing))
        lines.append(
            f"**未完成**：{len(REPORT_VARIANTS)} 个模型中有 {len(study.missing)} 个没有结果，"
            f"即 {names}；以下图表与结论只依据已有的运行。"
        )
    elif few := [v for v in REPORT_VARIANTS if len(study.seeds(v)) < len(seeds)]:
        names = "、".join(f"{escape(short_name(v))}（{len(study.seeds(v))} 个）" for v in few)
        lines.append(f"**未完成**：部分模型的种子数少于 {len(seeds)} 个，即 {names}。")
    machines = {m for run in study.results.values() for m in run.provenance.machines}
    if len(precisions := sorted({machine.precision for machine in machines})) > 1:
        lines.append(f"**精度不一**：各次运行的数值精度不同（{'、'.join(precisions)}）。")
    if study.failures:
        listed = "\n".join(_failed_run(*key, failure) for key, failure in study.failures.items())
        lines.append(f"**失败的运行**：以下运行没有结果，原因如下。\n\n{listed}")
    if len(study.numerics) > 1:
        numbers = "、".join(map(str, study.numerics))
        lines.append(f"**代码不一致**：各次运行所用训练代码的数值版本不同（{numbers}）。")
    if study.problems:
        listed = "\n".join(f"- {escape(problem)}" for problem in study.problems)
        lines.append(f"**未采用的文件**：以下文件不完整或不属于本实验，没有计入。\n\n{listed}")
    return Prose("\n\n".join(lines))


def _failed_run(variant: str, seed: int, failure: Failure) -> str:
    """``- Longbaseline，种子 0：出错（第 2 次尝试）：…``, without the machine's paths."""
    name = short_name(variant) if variant in VARIANTS else variant
    return (
        f"- {escape(name)}，种子 {seed}：{FAILURES[failure.kind]}"
        f"（第 {failure.attempt} 次尝试）：{escape(without_paths(failure.message))}"
    )


def summary(study: Study, verdicts: list[Verdict], tuned: Study | None = None) -> Prose:
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
        f"原报告中最高的是 {escape(short_name(str(old.idxmax())))}"
        f"（{percent(float(old.max()))}%），"
        f"最低的是 {escape(short_name(str(old.idxmin())))}（{percent(float(old.min()))}%）。",
        f"原报告的 {len(verdicts)} 条论断中，{counts[HOLDS]} 条成立，{counts[FAILS]} 条不成立，"
        f"{counts[UNDECIDED]} 条证据不足，逐条结果见 @tbl-claims。",
    ]
    if any(verdict.one_seed for verdict in verdicts):
        sentences.append("只有一个种子的结论仅就所训练的网络而言，不能推广到模型本身。")
    for variant in tuned.present if tuned is not None else ():
        assert tuned is not None
        part = f"{tuned.recipe.fraction * 100:g}% 的训练数据、"
        more = part if tuned.recipe.fraction != study.recipe.fraction else ""
        sentences.append(
            f"表的末行是用 tuned 配方训练的 {escape(short_name(variant))}，测试集准确率为 "
            f"{percent(tuned.mean(variant, 'test_accuracy'))}%：配方不同（{more}数据增强、优化器、"
            "训练轮数等），不参与比较，只说明同一网络还能达到多高。"
        )
    if notice(study):
        sentences.append(f"{escape(notice(study))}；其数字与原报告的数字不能直接相比。")
        sentences.append(_unfinished(study))
    return Prose("".join(sentences))


def _unfinished(study: Study) -> str:
    """How many networks were still getting better when the epochs were over; empty for none."""
    runs = [study.runs(variant) for variant in study.present]
    rising = sum(
        all(r.stopped == "cap" and r.best_epoch == r.epochs_run for r in of) for of in runs
    )
    if not rising:
        return ""
    return (
        f"{len(runs)} 个模型中，有 {rising} 个在轮数用完时验证集准确率还在提高"
        "（最佳的一轮就是最后一轮），训练尚未收敛，因此这里的结论不能推及充分训练的情形。"
    )


def _with_score(study: Study, variant: str) -> str:
    return f"{escape(short_name(variant))}（{percent(study.mean(variant, 'test_accuracy'))}%）"
