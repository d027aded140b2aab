"""How to get these results again: data, code, versions, devices, command, and the logs."""

import re
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import PurePosixPath

from labcnn.runs import GRADIENTS, HISTORY, RESULT, Machine, RunResult
from labcnn.variants import REPORT_VARIANTS
from labreport.document import Links, Prose, Table
from labreport.formats import seconds
from labreport.names import short_name
from labreport.study import Study

#: Linked by its own name, a cell per seed.
LOGS = (RESULT, HISTORY, GRADIENTS)
#: Packages named first; the others follow in the order of the alphabet.
FIRST = ("labcnn", "python", "torch")
#: A name that no shell reads anything into.
_PLAIN = re.compile(r"[\w.-]+")


def table(study: Study) -> Table:
    """What the runs were made with; a field in which they differ shows all its values."""
    runs = list(study.results.values())

    def each(value: Callable[[RunResult], object]) -> str:
        return "、".join(sorted({str(value(run)) for run in runs}))

    def of_machines(value: Callable[[Machine], object]) -> str:
        found = {str(value(machine)) for run in runs for machine in run.provenance.machines}
        return "、".join(sorted(found))

    names = {name for run in runs for name in run.provenance.versions}
    packages = [*(n for n in FIRST if n in names), *sorted(names - set(FIRST))]
    versions = "，".join(f"{name} {each(partial(_version, name))}" for name in packages)
    total = sum(run.timing.train_seconds for run in runs)
    stops = sum(run.provenance.interruptions for run in runs)
    rows = [
        ("实验", study.experiment),
        ("运行数", f"{len(runs)}（{len(study.present)} / {len(REPORT_VARIANTS)} 个模型）"),
        ("完成日期", _span([run.provenance.finished[:10] for run in runs])),
        ("数据指纹", each(lambda r: r.provenance.data_fingerprint[:16])),
        ("代码版本", each(lambda r: _commit(r.provenance.git_commit, r.provenance.git_dirty))),
        ("软件版本", versions),
        ("设备", of_machines(lambda m: f"{m.device_name}（{m.device}）")),
        ("数值精度", of_machines(lambda m: m.precision)),
        ("线程数", of_machines(lambda m: m.threads)),
        ("训练总用时", f"{total:,.0f} 秒（{seconds(total)}）"),
        *([("中断后续训次数", str(stops))] if stops else []),
    ]
    return Table(("项目", "取值"), rows, "ll")


def _version(package: str, run: RunResult) -> str:
    return run.provenance.versions.get(package, "—")


def _span(days: list[str]) -> str:
    first, last = min(days), max(days)
    return first if first == last else f"{first} 至 {last}"


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
    if study.experiment != recipe.experiment and _PLAIN.fullmatch(study.experiment):
        changed["experiment"] = study.experiment
    if changed:
        parts.append(f'PARAMS="{" ".join(f"{k}={v}" for k, v in changed.items())}"')
    if study.all_seeds != [0]:
        parts.append(f'SEEDS="{" ".join(map(str, study.all_seeds))}"')
    variants = _variants(study)
    if set(variants) != set(REPORT_VARIANTS):
        parts.append(f'VARIANTS="{" ".join(variants)}"')
    return " ".join(parts)


def how(study: Study, tuned: Study | None = None) -> Prose:
    """The command as code, and what it can't say; the tuned row's command where there is one."""
    lines = [
        "在项目的根目录下执行以下命令，即可重新训练缺少的模型并生成本报告：",
        _code(command(study)),
    ]
    if set(product(_variants(study), study.all_seeds)) != set(study.results):
        lines.append("各模型的种子不全相同，因此该命令还会补上本报告所缺的运行。")
    if tuned is not None:
        lines += [
            "末行（tuned）由下列命令得到：",
            _code(command(tuned)),
        ]
    return Prose("\n\n".join(lines))


def _code(text: str) -> str:
    return f"```\n{text}\n```"


def logs(study: Study, beside: str = "", tuned: Study | None = None) -> Table:
    """Every run's files by variant and seed, linked where the logs lie beside the report.

    Parameters
    ----------
    beside : folder of the logs as seen from the report, ``logs``; empty: names without links.
    """
    rows: list[list[str]] = []
    for part, name in ((study, ""), (tuned, "（tuned）")):
        for variant in _variants(part) if part is not None else ():
            assert part is not None
            folder = PurePosixPath(part.experiment) / variant
            seeds = part.seeds(variant)
            if beside:
                place = PurePosixPath(beside) / folder
                cells: list[str] = [
                    Links([(f"种子 {seed}", str(place / f"seed{seed}" / file)) for seed in seeds])
                    for file in LOGS
                ]
            else:
                cells = [str(folder), "、".join(f"seed{seed}" for seed in seeds)]
            rows.append([f"{short_name(variant)}{name}", *cells])
    files = [*LOGS] if beside else ["目录", "运行"]
    return Table(("模型", *files), rows, "l" * (1 + len(files)))


def _variants(study: Study) -> list[str]:
    """The variants that have a run: the report's in its order, then the others."""
    found = {name for name, _ in study.results}
    return [v for v in (*REPORT_VARIANTS, *sorted(found - set(REPORT_VARIANTS))) if v in found]
