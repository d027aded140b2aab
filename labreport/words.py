"""The report's words that are no sentences: names, heads of columns, labels of axes.

Sentences are in ``text/``; what train.ipynb shows of one run is below, in two languages. Braces are
filled in by ``str.format``.
"""

TITLE = "卷积神经网络图像分类的对照实验"
#: Before the lines of the title block.
COURSE, AUTHOR, STUDENT_NUMBER, DATE = "课程", "姓名", "学号", "日期"
SEPARATOR = "、"
HOURS, MINUTES, SECONDS = "{0} 小时 {1} 分", "{0} 分 {1} 秒", "{0:.1f} 秒"

#: What a variant's suffix is called, where it isn't called by its own name; ``all``: all four.
SWITCHES = {
    "baseline": "基线",
    "lrdecay": "衰减",
    "norm": "归一化",
    "dropout": "Dropout",
    "residual": "残差",
    "all": "全部",
}
#: The fields of a variant.
FIELDS = {
    "lr_decay": "学习率衰减",
    "norm": "批归一化",
    "dropout": "Dropout",
    "residual": "残差连接",
}
ALL_SWITCHES = "以上四项"
TUNED = "（tuned）"
DATASETS = {"tiny-imagenet-200": "Tiny ImageNet-200", "cifar10": "CIFAR-10"}
DATASET = "{name}（{origin}）"
ORIGINS = {
    "official data": "官方数据",
    "not the official data": "非官方数据",
    "demo data": "内置演示数据",
    "own pictures": "自己的图片",
}
SPLITS = {"train": "训练集", "val": "验证集", "test": "测试集"}
#: What a legend has for the values of a frame's columns.
LEGEND = SWITCHES | SPLITS
STATUS = {"ok": "正常", "diverged": "发散", "no_learning": "未学到", "missing": "未完成"}
#: Of a run that can't be told from chance where even all test images right couldn't.
TOO_FEW = "图像太少"
STOPPED = {"cap": "轮数上限", "early": "早停", "diverged": "发散"}
#: What kept a run from having a result.
FAILURES = {"error": "出错", "died": "内核中止", "time limit": "超过时限"}
NOTHING = "—"
STILL_RISING, OF_SEEDS, SAME_AS = "仍在提高", "{0}/{1} {2}", "同 {0}"

OUTCOMES = {
    "holds": "成立",
    "fails": "不成立",
    "equivalent": "无实质差别",
    "undecided": "证据不足",
    "untested": "未能检验",
}
#: What the original's claims are called.
CLAIMS = {
    "depth-order": "越浅准确率越高",
    "depth-underfit": "long 欠拟合",
    "depth-gradient": "深层梯度衰减",
    "lrdecay-helps": "学习率衰减有效",
    "lrdecay-longer": "训练轮数更多",
    "norm-helps": "归一化有效",
    "norm-faster": "归一化收敛快",
    "dropout-helps": "Dropout 有效",
    "dropout-overfit": "Dropout 减轻过拟合",
    "residual-long": "残差改善 long",
    "residual-slower": "残差更耗时",
    "residual-short": "short 残差发散",
    "best": "short+全部最好",
    "worst": "short+残差最差",
    "shallow-better": "浅层整体更好",
    "no-overfit": "short+全部不过拟合",
}
#: What is compared, by measure: in a sentence, and in a table (where test accuracy goes unsaid).
MEASURES = {
    "test": ("测试集准确率", ""),
    "train": ("训练集准确率", "训练集"),
    "gap": ("训练集与测试集准确率之差", "训练减测试"),
    "epochs": ("训练轮数", "轮数"),
    "epochs_to_reach": ("所需轮数", "轮数"),
    "seconds_to_reach": ("所需时间", "用时比"),
    "seconds_per_epoch": ("每轮用时", "用时比"),
    "fading": ("首末比", "首末比"),
    "gradient": ("梯度范数", "梯度比"),
    "fading_at_start": ("训练之前的首末比", "训练之前的首末比"),
    "gradient_at_start": ("训练之前的梯度范数", "训练之前的梯度比"),
}
OF_MEASURE = "{0}：{1}"
#: Of a part that has no say in its claim; of a claim that holds in all parts that can be tested.
BESIDE, IN_PART = "{0}（参考）", "部分成立"
#: What two variants are called beside each other in a table, by :class:`labreport.claims.Role`.
ROLES = {
    "one": "{first}",
    "depth": "{depth}",
    "depths": "{depth} 与 {other_depth}",
    "than": "比 {second}",
    "than_baseline": "比基线",
    "best": "最好：对 {second}",
    "worst": "最差：对 {first}",
    "matched": "{depth} 与 {second}",
}

DEPTH_COLUMNS = ("开关", "short", "long", "long − short [95% 区间]", "训练集：long − short")
COMPARED_COLUMNS = ("模型", "种子数", "测试集准确率（%）", "与 {} 之差（百分点）")
RESULT_COLUMNS = ("网络模型", *SPLITS.values(), "状态")
ORIGINAL_COLUMNS = ("原训练", "原验证", "原测试")
NETWORK_COLUMNS = ("网络", "开关", "参数量 / 百万", "前向 FLOPs / 百万")
ORIGINAL_NAME = "原报告的名称"
CLAIM_COLUMNS, ORIGINAL_COLUMN = ("论断", "比较", "效应 [95% 区间]", "单项"), "原报告"
NO_INTERVAL = "[无区间]"
CLAIM_OUTCOME, OF_ONE_SEED = "结论", "（单种子）"
CONFUSION_COLUMNS = ("真实类别", "误判为", "次数 / 该类的判断数", "比例", "反向误判次数")
LOG_COLUMNS = ("模型", "目录", "运行")

EPOCH = "轮"
LOSS, ACCURACY = "损失", "准确率"
SPLIT_ACCURACY = {split: f"{word}准确率" for split, word in SPLITS.items()}
CHANCE, ORIGINAL = "随机猜测", "原报告（Tiny ImageNet）"
BLOCK, GRADIENT_NORM = "双卷积，从输入到输出", "梯度范数"
FRONT = "前沿"
TRAINING_FLOPS = "一次训练的计算量 / TFLOP（对数坐标）"
CLASS, CLASSES, MEAN = "类别 {number}", "各类", "平均"
CLASSES_BY_ACCURACY = "类别（按准确率从低到高）"
CLASSES_ALIKE = "各类同样难时的 95% 范围"
MISTAKE = "真实：{true}\n判为：{predicted}\n概率 {probability:.0%}"

GAP = "　"
WHOLE_NETWORK, ONE_BLOCK = "(a) 整个网络", "(b) 一个双卷积"
INPUT, STRIDED = "输入 {size}×{size}×3", "3×3 卷积，步长 2，ReLU，{channels}"
STAGE_BLOCKS = "$n$ × 双卷积，{channels}；2×2 池化"
STAGE, TIMES = "阶段 {number}（{size}×{size}）", "{depth}：$n$ = {count}"
BLOCK_CONVOLUTION, BLOCK_NORM = "3×3 卷积", "批归一化（归一化）"
PROJECTION = "残差连接：\n恒等；通道数变时\n为 1×1 卷积与\n归一化（若启用）"
GLOBAL_POOLING, DROPOUT, LINEAR = "全局平均池化", "Dropout", "线性层"

#: Of one run, by language; ``demo`` and ``own`` stand above its parameters, by its data's origin.
ONE_RUN = {
    "zh": {
        "demo": "> **演示数据**：本次训练使用内置的 `shapes`，不是 Tiny ImageNet，"
        "其数字与 ImageNet 无关。`labcnn data fetch` 获取真实图像。\n\n",
        "own": "> **自己的图片**：本次训练使用数据集 `{dataset}`，由文件夹中的图片制成。\n\n",
        "variant": "**{label}**（`{variant}`）",
        "run": "{variant}，种子 {seed}，实验 `{experiment}`，文件夹 `{folder}`",
        "parameters": "| 参数 | 取值 |",
        "samples": "{dataset}（{origin}）：{classes} 类，训练集 {train:,}、验证集 {val:,}、"
        "测试集 {test:,} 张图像",
        "progress": "第 {epoch}/{last} 轮",
        "left": "，全部至多还需 {left}",
        "step": "步",
        "outcome": "{status}：共 {epochs} 轮，最佳为第 {best} 轮，结束原因：{stopped}"
        "（stopped by: {result.stopped}）",
        "no epoch": NOTHING,
        "metrics": "| | 准确率 | 损失 | 图像数 |",
        "epoch": EPOCH,
        "loss": LOSS,
        "accuracy": ACCURACY,
        "train": "训练集（训练时）",
        "train_eval": "训练集（评估）",
        "val": "验证集",
        "best": "最佳一轮",
        "predictions": "测试集图像：预测的类别及其概率，括号中为正确的类别",
        "predicted class": "预测的类别",
        "right class": "正确的类别",
        "images": "次数",
        "confusions": "最常见的误判：正确 → 预测",
    },
    "en": {
        "demo": "> **Demo data**: this run uses the embedded set `shapes`, not Tiny ImageNet; its "
        "numbers say nothing about ImageNet. `labcnn data fetch` gets the real images.\n\n",
        "own": "> **Own pictures**: this run uses the data set `{dataset}`, made from a folder of "
        "pictures.\n\n",
        "variant": "**{label}** (`{variant}`)",
        "run": "{variant}, seed {seed}, experiment `{experiment}`, folder `{folder}`",
        "parameters": "| parameter | value |",
        "samples": "{dataset} ({origin}): {classes} classes, {train:,} train, {val:,} validation, "
        "{test:,} test images",
        "progress": "epoch {epoch} of {last}",
        "left": ", all at most {left} more",
        "step": "step",
        "outcome": "{result.status}: {result.reason}; best epoch {best} of {epochs}, "
        "stopped by: {result.stopped}",
        "no epoch": "none",
        "metrics": "| | top-1 accuracy | loss | images |",
        "epoch": "epoch",
        "loss": "loss",
        "accuracy": "accuracy",
        "train": "train, in training",
        "train_eval": "train, evaluated",
        "val": "validation",
        "best": "best epoch",
        "predictions": "Test images: the predicted class and its probability, the right class in "
        "brackets",
        "predicted class": "predicted class",
        "right class": "right class",
        "images": "images",
        "confusions": "Most frequent: right → predicted",
    },
}
