"""The best network class by class, in words: hard and easy classes, confusions, confidence."""

import numpy as np

from labreport.classes import accuracies, best_variant, confusion_matrix, most_confused
from labreport.document import Prose, escape
from labreport.formats import percent
from labreport.names import short_name, shortened
from labreport.pictures import Pictures
from labreport.study import Study

#: Of the standard normal distribution, two-sided 5 %.
Z = 1.96


def by_class(study: Study, pictures: Pictures) -> Prose:
    """How far the classes differ, and the two that are confused most often."""
    variant = best_variant(study)
    matrix = confusion_matrix(study, variant)
    found = accuracies(matrix)
    easiest, hardest = int(np.nanargmax(found)), int(np.nanargmin(found))
    images = int(np.median(matrix.sum(axis=1)) / len(study.seeds(variant)))
    never = int((np.diag(matrix) == 0).sum())
    sentences = [
        f"以测试集准确率最高的 {escape(short_name(variant))} 为例，逐类的准确率见 @fig-classes。"
        f"每类有 {images} 幅测试图像；准确率最高的是 {_named(easiest, pictures)}"
        f"（{percent(float(found[easiest]))}%），",
        f"有 {never} 类的测试图像无一判对。"
        if never
        else f"最低的是 {_named(hardest, pictures)}（{percent(float(found[hardest]))}%）。",
    ]
    worst = most_confused(matrix, 1)
    if worst:
        pair = worst[0]
        sentences.append(
            f"最常见的误判是把 {_named(pair.true, pictures)} 当作 "
            f"{_named(pair.predicted, pictures)}，共 {pair.count} 次，"
            f"占该类的 {pair.count / pair.images * 100:.0f}%；误判最多的各对见 @tbl-confusions"
            + (
                "；预测类别相同的只取次数最多的一对，其图像见 @fig-confusions。"
                if pictures.data is not None
                else "。"
            )
        )
    return Prose(shortened("".join(sentences)))


def mistakes(study: Study, pictures: Pictures) -> Prose:
    """How confident the best network is, right and wrong."""
    variant = best_variant(study)
    seed = study.seeds(variant)[0]
    right = study.test_correct(variant, seed)
    probability = study.test_probability(variant, seed)
    mean, accuracy = float(probability.mean()), float(right.mean())
    difference = probability - right
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    word = "整体上偏于自信" if mean > accuracy else "整体上偏于保守"
    if abs(mean - accuracy) < Z * error:
        word = f"两者之差在抽样误差（标准误 {percent(error)} 个百分点）之内"
    sentences = [
        f"{escape(short_name(variant))}（种子 {seed}）对预测类别给出的平均概率为 {percent(mean)}%，"
        f"准确率为 {percent(accuracy)}%，{word}。"
    ]
    if (sure := probability > 0.5).any():
        sentences.append(
            f"所给概率超过一半的有 {int(sure.sum()):,} 幅，平均概率为 "
            f"{percent(float(probability[sure].mean()))}%，准确率为 "
            f"{percent(float(right[sure].mean()))}%。"
        )
    if not right.all() and pictures.data is not None:
        sentences.append("概率最高的误判见 @fig-mistakes。")
    return Prose(shortened("".join(sentences)))


def _named(label: int, pictures: Pictures) -> str:
    return escape(pictures.name(label))
