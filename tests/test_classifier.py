"""The main job as a scikit-learn classifier."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

from archipel import ArchipelClassifier
from archipel.errors import DataError, OptionError, RunError

X, Y = load_digits(return_X_y=True)

# Those of scikit-learn's checks that need no fit: one of a network takes longer than all of them.
CHECKS = [
    "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_get_params_invariance",
    "check_set_params", "check_do_not_raise_errors_in_init_or_set_param", "check_estimators_unfitted",
    "check_estimator_repr", "check_estimator_cloneable", "check_mixin_order", "check_estimator_get_tags_default_keys",
    "check_estimator_tags_renamed", "check_valid_tag_types",
]  # fmt: skip


@pytest.mark.parametrize("check", [name for name in CHECKS if hasattr(estimator_checks, name)])
def test_it_is_an_estimator(check: str) -> None:
    getattr(estimator_checks, check)("ArchipelClassifier", ArchipelClassifier())


def test_what_it_is_given_is_documented() -> None:
    told = inspect.getdoc(ArchipelClassifier) or ""
    for name in ArchipelClassifier().get_params():
        assert f"{name}:" in told, name


class TestFitted:
    def test_it_says_what_its_run_says(self, fitted: Any, finished: Any) -> None:
        model = fitted._model()
        said = model.predict(finished.images)
        grey = finished.images[:, :, :, 0].numpy()
        assert fitted.predict_proba(grey) == pytest.approx(said.probabilities)
        assert fitted.predict(grey).tolist() == [int(label) for label in said.labels]

    def test_it_learnt_something(self, fitted: Any) -> None:
        assert fitted.score(X[200:600], Y[200:600]) > 0.3  # 0.1 is chance

    def test_flat_and_square_images_are_the_same(self, fitted: Any) -> None:
        flat = fitted.predict_proba(X[:20])
        assert flat.shape == (20, 10)
        assert np.array_equal(flat, fitted.predict_proba(X[:20].reshape(-1, 8, 8)))

    def test_classes_are_the_labels(self, fitted: Any) -> None:
        assert fitted.classes_.tolist() == list(range(10))
        assert fitted.n_features_in_ == 64
        assert fitted.predict(X[:3]).dtype == Y.dtype

    def test_a_latency_is_asked_for_without_another_fit(self, fitted: Any) -> None:
        slow = fitted.answers(X[:50]).latency_ms.mean()
        fastest = fitted._model().points[0].ms
        quick = pickle.loads(pickle.dumps(fitted)).set_params(target_latency=fastest)
        assert quick.answers(X[:50]).latency_ms.mean() == pytest.approx(fastest)
        assert fastest <= slow
        other = pickle.loads(pickle.dumps(fitted)).set_params(model="mobilenet_v2")
        (width,) = set(other.answers(X[:2]).children)  # which of them is the faster is measured
        assert width in ("0.25x", "0.5x")

    def test_a_clone_is_not_fitted(self, fitted: Any) -> None:
        with pytest.raises(NotFittedError):
            clone(fitted).predict(X[:2])


class Asked(Exception):
    pass


@pytest.mark.parametrize(
    ("shape", "wanted", "pixels"),
    [
        ((20, 16), (1, 4, 4), 16),
        ((20, 4, 4), (1, 4, 4), 16),
        ((20, 3, 9), (1, 3, 3), 27),
        ((20, 9, 8, 1), (1, 8, 8), 72),
        ((20, 1, 8, 8), (1, 8, 8), 64),
        ((20, 8, 8, 3), (3, 8, 8), None),
        ((20, 3, 8, 8), (3, 8, 8), None),
        ((20, 8, 8, 4), (3, 8, 8), None),
    ],
)
def test_pictures_of_every_layout(
    shape: tuple[int, ...], wanted: tuple[int, ...], pixels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def asked(_: ArchipelClassifier, task: Any) -> None:
        seen.append(task)
        raise Asked

    monkeypatch.setattr(ArchipelClassifier, "_run", asked)
    classifier, labels = ArchipelClassifier(), np.array(["left", "right"] * 10)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with pytest.raises(Asked):
        classifier.fit(pictures, labels)
    (task,) = seen
    assert task.spec.input_shape == wanted
    assert task.spec.classes == ("left", "right")
    assert getattr(classifier, "n_features_in_", None) == pixels


class TestMistakes:
    @pytest.mark.parametrize(
        ("images", "labels", "said"),
        [
            (X[:50, :60], Y[:50], "60 features, which are no square picture"),
            (X[:50], Y[:49], "inconsistent numbers of samples"),
            (X[:50], np.linspace(0, 1, 50), "Unknown label type"),
            (-X[:50], Y[:50], "from 0 to 1"),
            (X[:50], np.zeros(50, int), r"y holds only one class \(0\)"),
            (np.full_like(X[:50], np.nan), Y[:50], "from 0 to 1, and the images hold nan"),
            (X[:50].reshape(50, 2, 2, 4, 4), Y[:50], r"shape \[50, 2, 2, 4, 4\]"),
            (X[:50, 0], Y[:50], r"shape \[50\]"),
        ],
    )
    def test_what_cannot_be_learnt_from(self, images: np.ndarray, labels: np.ndarray, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            ArchipelClassifier(threads=1).fit(images, labels)

    def test_another_number_of_features(self, fitted: Any) -> None:
        with pytest.raises(DataError, match="X has 49 features, but ArchipelClassifier is expecting 64 features"):
            fitted.predict(X[:5, :49])

    def test_a_wrong_preset(self) -> None:
        with pytest.raises(OptionError, match=r"no preset 'digit'.*did you mean 'digits'"):
            ArchipelClassifier(preset="digit", threads=1).fit(X[:100], Y[:100])

    def test_a_temporary_run_cannot_be_pickled(self, tmp_path: Path) -> None:
        fitted = ArchipelClassifier()
        fitted._temporary = tmp_path
        with pytest.raises(RunError, match="fit it with out='FOLDER'"):
            pickle.dumps(fitted)
