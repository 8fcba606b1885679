"""The interface of the evaluate step."""

from kfp import dsl

from components import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def evaluate(
    model: dsl.Input[dsl.Model],
    test_data: dsl.Input[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    predictions: dsl.Output[dsl.Dataset],
) -> None:
    """Score the exported model on data that training never saw.

    Args:
        model: The model folder; its model.onnx is measured, since it is the file that is served.
        test_data: Images and labels.
        metrics: Accuracy with its 95% interval, loss, macro F1, calibration error, latency; also as metrics.json.
        confusion: Confusion matrix and micro-average ROC curve.
        predictions: probabilities.npy, in the order of the test data.
    """
    from pathlib import Path

    from components.mnist.evaluation.step import evaluate_model

    evaluation = evaluate_model(
        model_folder=Path(model.path),
        test_folder=Path(test_data.path),
        metrics_folder=Path(metrics.path),
        predictions_folder=Path(predictions.path),
    )
    for name, value in evaluation.scalars().items():
        if isinstance(value, str):
            metrics.metadata[name] = value
        else:
            metrics.log_metric(name, value)
    confusion.log_confusion_matrix(list(evaluation.classes), [list(row) for row in evaluation.confusion])
    confusion.log_roc_curve(list(evaluation.roc_fpr), list(evaluation.roc_tpr), list(evaluation.roc_thresholds))
