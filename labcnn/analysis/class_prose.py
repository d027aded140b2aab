"""The best network class by class, in words: hard and easy classes, confusions, confidence."""

import numpy as np

from labcnn.analysis.classes import accuracies, best_variant, confusion_matrix, most_confused
from labcnn.analysis.document import Prose, escape
from labcnn.analysis.formats import percent
from labcnn.analysis.names import short_name, shortened
from labcnn.analysis.pictures import Pictures
from labcnn.analysis.study import Study


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
            + ("，其图像见 @fig-confusions。" if pictures.data is not None else "。")
        )
    return Prose(shortened("".join(sentences)))


def mistakes(study: Study, pictures: Pictures) -> Prose:
    """How confident the best network is, right and wrong."""
    variant = best_variant(study)
    seed = study.seeds(variant)[0]
    right = study.test_correct(variant, seed)
    probability = study.test_probability(variant, seed)
    mean, accuracy = float(probability.mean()), float(right.mean())
    word = "偏于自信" if mean > accuracy else "偏于保守"
    sentences = [
        f"{escape(short_name(variant))}（种子 {seed}）给所判类别的概率平均为 {percent(mean)}%，"
        f"而准确率为 {percent(accuracy)}%，{word}。"
    ]
    wrong = probability[~right]
    if len(wrong):
        sure = int((wrong > 0.5).sum())
        sentences.append(
            f"{len(wrong):,} 次误判中，有 {sure:,} 次给出的概率超过一半"
            f"（{sure / len(wrong) * 100:.1f}%）。"
        )
        if pictures.data is not None:
            sentences.append("概率最高的误判见 @fig-mistakes。")
    return Prose(shortened("".join(sentences)))


def _named(label: int, pictures: Pictures) -> str:
    return escape(pictures.name(label))
