"""Which pictures the report shows."""

import numpy as np

from components.mnist.report.pictures import confident_mistakes, spread_samples


def test_mistakes_come_most_confident_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], np.float32)
    assert confident_mistakes(np.array([1, 0, 1, 1]), probabilities, most=2).tolist() == [1, 3]


def test_samples_come_from_every_class_however_rare() -> None:
    labels = np.array([0] * 90 + [1] * 5 + [2] * 5)
    chosen = spread_samples(labels, most=30)
    assert len(set(chosen.tolist())) == 30
    assert set(labels[chosen]) == {0, 1, 2}
    assert spread_samples(labels[:4], most=30).tolist() == [0, 1, 2, 3]
