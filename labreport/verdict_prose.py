"""A section's findings in words: what failed, and each claim's verdict with its evidence."""

import re

from labreport import statistics
from labreport.document import Prose, escape
from labreport.findings import sentence
from labreport.formats import p_value, percent
from labreport.names import listed, short_name, shortened
from labreport.study import Study
from labreport.verdicts import FAILS, HOLDS, UNDECIDED, Finding, Verdict

MISSING = "未完成："
#: ``p = 0.01``, which no line should break.
_P = re.compile(r"\bp (=|\\<) ")


def section(study: Study, verdicts: list[Verdict], number: str, variants: list[str]) -> Prose:
    """A section's findings: what is missing or failed, and its claims' verdicts."""
    blocks = [_missing(study, variants) + _failures(study, variants)]
    for verdict in verdicts:
        if verdict.claim.sections[0] == number:
            blocks.append(judged(verdict))
        elif number in verdict.claim.sections:
            blocks.append(
                f"论断“{escape(verdict.claim.title)}”已在第 {verdict.claim.sections[0]} 节核验："
                f"{verdict.word}。"
            )
    return Prose("\n\n".join(block for block in blocks if block))


def _missing(study: Study, variants: list[str]) -> str:
    missing = [v for v in variants if not study.seeds(v)]
    return shortened(f"{escape(listed(missing))} 未完成，不在比较之列。") if missing else ""


def _failures(study: Study, variants: list[str]) -> str:
    sentences = []
    for variant in variants:
        runs = study.runs(variant)
        for status, text in (
            ("diverged", "训练发散：损失出现非有限值，训练就此中止"),
            ("no_learning", "没有学到东西：训练结束时，准确率与随机猜测没有显著差别"),
        ):
            failed = [run for run in runs if run.status == status]
            if not failed:
                continue
            which = ""
            if len(runs) > 1:
                seeds = "、".join(str(run.recipe.seed) for run in failed)
                which = f"（{len(runs)} 个种子中的 {len(failed)} 个：{seeds}）"
            epochs = "、".join(dict.fromkeys(str(run.epochs_run) for run in failed))
            sentences.append(
                f"{escape(short_name(variant))} {text}{which}。它训练了 {epochs} 轮；"
                f"随机猜测的准确率为 {percent(study.chance)}%。"
            )
    return shortened("".join(sentences))


def judged(verdict: Verdict) -> str:
    """One claim: what the original says, the verdict, the evidence, and what it amounts to."""
    evidence = "；".join(escape(shortened(sentence(f))) for f in verdict.shown if f.estimate)
    evidence += "。" if evidence else ""
    p = escape(p_value(verdict.p_adjusted))
    p = p if p.startswith("\\<") else f"= {p}"
    end = {
        HOLDS: f"这支持原报告的说法（校正后 p {p}）。",
        FAILS: f"这与原报告的说法相反（校正后 p {p}）。",
        UNDECIDED: f"现有数据不足以判断：{escape(_told(verdict.reason.split('；')))}。",
    }[verdict.verdict]
    if verdict.verdict != UNDECIDED:
        end += _left_out(verdict.findings)
    title, claim = escape(verdict.claim.title), escape(shortened(verdict.claim.text))
    part = f"共 {len(verdict.findings)} 项比较，列出 {len(verdict.shown)} 项："
    some = part if len(verdict.shown) < len(verdict.findings) and evidence else ""
    text = f"**{title}**　论断：{claim}。本实验的结论是{verdict.word}。{some}{evidence}{end}"
    return _P.sub("p\u00a0\\1\u00a0", text)


def _left_out(findings: tuple[Finding, ...]) -> str:
    """What couldn't be compared and why, each reason and each missing network once."""
    reasons = list(dict.fromkeys(f.reason for f in findings if f.reason))
    if not reasons:
        return ""
    return f"其余比较无法进行：{escape(_told(reasons))}。"


def _told(reasons: list[str]) -> str:
    """Reasons in one line, the missing networks of all of them first: ``long+全部未完成；…``."""
    missing = [n for r in reasons if r.startswith(MISSING) for n in r[len(MISSING) :].split("、")]
    others = [reason for reason in reasons if not reason.startswith(MISSING)]
    if missing:
        others.insert(0, f"{'、'.join(dict.fromkeys(missing))} 未完成")
    return shortened("；".join(others))


def scope(study: Study) -> Prose:
    """What the intervals cover, and how the verdicts were reached."""
    if len(study.all_seeds) == 1:
        covers = (
            "每个模型只有一个随机种子，因此准确率的区间只反映测试图像的抽样误差，"
            "不包含换一个种子重新训练所带来的差别，结论也只就这些训练好的网络而言；"
            "梯度、用时与轮数需要多个种子才能估计，不给区间，相应的论断记为证据不足。"
            "单个准确率用 Wilson 区间与精确二项检验；同一批测试图像上的差用 Newcombe 配对区间与 "
            "McNemar mid-p 检验；训练集准确率按独立样本处理（Newcombe 区间、得分检验）；"
            "两个差值之差用 MOVER 区间。"
        )
    else:
        covers = (
            f"共有 {len(study.all_seeds)} 个随机种子；测试集准确率及其差按种子与测试图像"
            "两个交叉的随机因素估计方差（区间用 Welch 级数），其余的量按种子配对用 t 区间估计。"
        )
    return Prose(
        covers + "准确率之差的单位为百分点，其余为比值或轮数之差。由多项比较组成的论断，"
        "各项都显著支持才算成立，有一项显著相反即不成立，其他情形记为证据不足；"
        f"p 值用 Holm 方法对全部论断校正，显著性水平为 {statistics.ALPHA * 100:g}%，区间未作校正；"
        "p 为“—”的论断至少有一项无法检验，校正时按 p = 1 计入。"
    )
