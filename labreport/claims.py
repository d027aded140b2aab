"""The original report's 15 claims as data: what each compares, on which measure, which way."""

from dataclasses import dataclass
from itertools import pairwise

from labcnn.variants import REPORT_VARIANTS

#: A gap between training and test accuracy up to this is no overfitting.
GAP_TOLERANCE = 0.05
#: Up to this many times the accuracy of guessing is "at chance".
CHANCE_MULTIPLE = 2


@dataclass(frozen=True)
class Part:
    """One comparison: the claim says ``first - second`` lies above (or below) the threshold.

    ``second`` None: ``first`` alone. ``times_chance`` adds that multiple of 1 / classes to the
    threshold. ``measure`` is a key of :data:`labreport.measures.MEASURES`. A part that
    doesn't decide is shown beside those that do. ``name`` tells it from the claim's other parts
    in a table; empty: the variants' names.
    """

    measure: str
    first: str
    second: str | None = None
    above: bool = True
    threshold: float = 0.0
    times_chance: int = 0
    decides: bool = True
    name: str = ""

    @property
    def variants(self) -> tuple[str, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True)
class Claim:
    """A statement that holds if all its parts do. ``shown``: parts of a long list to show, 0 all.

    ``original`` is what the original's text says where its table has no number for it.
    """

    id: str
    title: str
    sections: tuple[str, ...]
    text: str
    parts: tuple[Part, ...]
    original: str = ""
    shown: int = 0


def _both_depths(measure: str, switch: str, *, above: bool) -> tuple[Part, ...]:
    return tuple(
        Part(measure, f"{depth}_{switch}", f"{depth}_baseline", above, name=depth)
        for depth in ("short", "long")
    )


def _depths(first: str, second: str) -> str:
    return f"{first.split('_')[0]} 与 {second.split('_')[0]}"


_DEPTHS = ("short_all", "mid_all", "long_all")
_BEST = tuple(
    Part("test", "short_all", v, name=f"最好：对 {v}") for v in REPORT_VARIANTS if v != "short_all"
)
_WORST = tuple(
    Part("test", v, "short_residual", name=f"最差：对 {v}")
    for v in REPORT_VARIANTS
    if v not in {"short_all", "short_residual"}
)
_MATCHED = tuple(
    Part("test", f"short_{v.split('_')[1]}", v, name=f"short 与 {v}")
    for v in REPORT_VARIANTS
    if not v.startswith("short")
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "depth-order",
        "越浅准确率越高",
        ("3.1",),
        "测试集准确率：short 高于 mid，mid 高于 long（均加全部模块）",
        tuple(Part("test", a, b, name=_depths(a, b)) for a, b in pairwise(_DEPTHS)),
    ),
    Claim(
        "depth-underfit",
        "long 欠拟合",
        ("3.1",),
        "long 落后是因为欠拟合，而不是过拟合（训练集准确率也低于 short）",
        (Part("train", "long_all", "short_all", above=False, name="long 与 short"),),
    ),
    Claim(
        "depth-gradient",
        "深层梯度衰减",
        ("3.1", "3.5"),
        "原因是梯度在深层网络中回传时衰减（首末阶段梯度范数之比小于 1，且小于 short）",
        (
            Part("fading", "long_all", above=False),
            Part("fading", "long_all", "short_all", above=False, name="比 short_all"),
            Part("fading", "long_baseline", above=False),
            Part(
                "fading", "long_baseline", "short_baseline", above=False, name="比 short_baseline"
            ),
        ),
    ),
    Claim(
        "lrdecay-helps",
        "学习率衰减有效",
        ("3.2",),
        "学习率衰减提高测试集准确率（short 与 long）",
        _both_depths("test", "lrdecay", above=True),
    ),
    Claim(
        "lrdecay-longer",
        "训练轮数更多",
        ("3.2",),
        "原因是学习率衰减使训练的轮数更多",
        _both_depths("epochs", "lrdecay", above=True),
    ),
    Claim(
        "norm-helps",
        "归一化有效",
        ("3.3",),
        "归一化小幅提高测试集准确率（short 与 long；只检验方向）",
        _both_depths("test", "norm", above=True),
    ),
    Claim(
        "norm-faster",
        "归一化收敛快",
        ("3.3",),
        "归一化收敛更快、用时更少（达到两者都达到过的最高验证集准确率所需的轮数与时间）",
        (
            *_both_depths("epochs_to_reach", "norm", above=False),
            *_both_depths("seconds_to_reach", "norm", above=False),
        ),
    ),
    Claim(
        "dropout-helps",
        "Dropout 有效",
        ("3.4",),
        "Dropout 明显提高测试集准确率（short 与 long；只检验方向）",
        _both_depths("test", "dropout", above=True),
    ),
    Claim(
        "dropout-overfit",
        "Dropout 减轻过拟合",
        ("3.4",),
        "原因是 Dropout 减轻了过拟合（训练集与测试集准确率之差变小）",
        _both_depths("gap", "dropout", above=False),
    ),
    Claim(
        "residual-long",
        "残差改善 long",
        ("3.5",),
        "残差连接使 long 避免梯度问题（测试集准确率提高，且首末阶段梯度范数之比变大）",
        (
            Part("test", "long_residual", "long_baseline", name="long"),
            Part("fading", "long_residual", "long_baseline", name="long"),
        ),
    ),
    Claim(
        "residual-slower",
        "残差更耗时",
        ("3.5",),
        "残差连接使每轮用时变长",
        _both_depths("seconds_per_epoch", "residual", above=True),
    ),
    Claim(
        "residual-short",
        "short 残差发散",
        ("3.5",),
        "short 无归一化而学习率固定时，残差连接使训练发散，准确率停在随机水平",
        (
            Part("test", "short_residual", above=False, times_chance=CHANCE_MULTIPLE),
            Part("gradient", "short_residual", "short_baseline", decides=False, name="比基线"),
        ),
    ),
    Claim(
        "best-worst",
        "最好与最差",
        ("3.6",),
        "13 个模型中 Shortbaseline+all 最好，Shortbaseline+residualblock 最差",
        _BEST + _WORST,
        shown=2,
    ),
    Claim(
        "shallow-better",
        "浅层整体更好",
        ("3.6",),
        "整体上 long 与 mid 的测试集准确率低于 short（逐对比较）",
        _MATCHED,
        shown=3,
    ),
    Claim(
        "no-overfit",
        "short+全部不过拟合",
        ("3.6",),
        "Shortbaseline+all 没有过拟合"
        f"（训练集与测试集准确率之差小于 {GAP_TOLERANCE * 100:g} 个百分点）",
        (Part("gap", "short_all", above=False, threshold=GAP_TOLERANCE),),
    ),
)
