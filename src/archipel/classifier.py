"""The main job as a scikit-learn classifier: images and labels in, a network that spends on each image what it needs
out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from archipel.deploy import Inputs, Model, Predictions, load
from archipel.errors import DataError, OptionError, RunError, did_you_mean
from archipel.recipes import instanas
from archipel.report import write as write_report
from archipel.run.config import merge, to_dict
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder
from archipel.spaces import resolve
from archipel.tasks import Augmentation, Classification, Flip, Shift
from archipel.tasks.pixels import classification_of_pixels

__all__ = ["ArchipelClassifier"]


class ArchipelClassifier(ClassifierMixin, BaseEstimator):
    """Classifies images as fast as each allows.

        classifier = ArchipelClassifier().fit(X_train, y_train)
        classifier.score(X_test, y_test)
        classifier.set_params(target_latency=0.2).predict(X_test)      # faster; nothing is trained again

    `X` are images: `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`, or flattened grey squares `[N, H²]` as
    scikit-learn's own data sets have them. Whole numbers are pixels from 0 to 255; floats go from 0 to 1, or where
    those of the training go higher, to the largest of them.

    Args:
        space: a search space, or "file.py:function" for your own.
        preset: settings to start from, as of `archipel run`; "digits" for pictures of up to 16 pixels and "cpu" for
            larger ones if not given.
        settings: changes to the preset, nested: `{"search": {"epochs": 30}}`.
        model: which of the run's families answers, see `archipel.load`; early exits if not given.
        target_latency: milliseconds the mean image may take, or a point's name; see `archipel.Model.at`.
        size: side in pixels to which images are scaled; that of the shorter side if not given.
        flip: whether a mirrored image is of the same class: so of photographs, not of letters.
        device: "cpu" or "cuda:0".
        threads: CPU threads of the training; measured and chosen when not given.
        random_state: a whole number, of the splits, the weights and the search.
        out: a new folder for the run, with its report; a temporary one, gone with this object, if not given.
        verbose: show progress on stderr.

    Attributes:
        classes_: the labels.
        run_: the run folder.
        n_features_in_: of grey images, how many pixels each has.
    """

    def __init__(
        self,
        *,
        space: str = "instanas",
        preset: str | None = None,
        settings: Mapping[str, Any] | None = None,
        model: str | None = None,
        target_latency: float | str | None = None,
        size: int | None = None,
        flip: bool = False,
        device: str = "cpu",
        threads: int | None = None,
        random_state: int = 0,
        out: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.space = space
        self.preset = preset
        self.settings = settings
        self.model = model
        self.target_latency = target_latency
        self.size = size
        self.flip = flip
        self.device = device
        self.threads = threads
        self.random_state = random_state
        self.out = out
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> ArchipelClassifier:
        """Search, train and choose; minutes for small pictures, hours for large ones.

        Raises:
            ArchipelError: a mistake in what was given, in one line.
        """
        images, labels = _array(X), column_or_1d(y)
        check_consistent_length(images, labels)
        check_classification_targets(labels)
        self.classes_, positions = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"y holds only one class ({self.classes_[0]}); classification needs two")
        self.top_ = float(images.max()) if images.dtype.kind == "f" and images.size and images.max() > 1 else 1.0
        pictures = self._pictures(images)
        task = self._task(pictures, torch.from_numpy(positions.astype(np.int64)))
        self.__dict__.pop("n_features_in_", None)
        if pictures.shape[-1] == 1:
            self.n_features_in_ = int(np.prod(pictures.shape[1:]))
        for name in ("_temporary", "_loaded"):
            self.__dict__.pop(name, None)
        if self.out is None:
            self._temporary = TemporaryDirectory(prefix="archipel-")
            self.run_ = Path(self._temporary.name) / "run"
        else:
            self.run_ = Path(self.out).expanduser().resolve()
        self._run(task)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels, `[N]`."""
        positions = self.answers(X).indices
        found: np.ndarray = self.classes_[positions]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, `[N, classes]`, in the order of `classes_`."""
        return self.answers(X).probabilities

    def answers(self, X: Any) -> Predictions:
        """With what answered each image, and the predicted latency."""
        check_is_fitted(self, "run_")
        images = _array(X)
        known = getattr(self, "n_features_in_", None)
        if images.ndim == 2 and images.shape[1] != known:
            wanted = "pictures in colour, [N, H, W, 3]" if known is None else f"{known} features as input"
            raise DataError(f"X has {images.shape[1]} features, but ArchipelClassifier is expecting {wanted}")
        return self._model().predict(self._pictures(images), self.target_latency)

    def _model(self) -> Model:
        """Of the run and the parameters as they are now."""
        held = getattr(self, "_loaded", None)
        if held is None or held[0] != (self.model, self.device):
            held = self._loaded = (self.model, self.device), load(self.run_, self.model, device=self.device)
        found: Model = held[1]
        return found

    def _pictures(self, images: np.ndarray) -> np.ndarray:
        """Images of a layout and range that `Inputs` knows; grey ones `[N, H, W, 1]`."""
        if images.dtype.kind == "f" and self.top_ != 1.0:
            images = (images / self.top_).clip(0.0, 1.0)
        if images.ndim == 3:
            return images[..., None]
        if images.ndim == 4 and images.shape[1] == 1:
            return images.transpose(0, 2, 3, 1)
        if images.ndim != 2:
            return images
        side = round(images.shape[1] ** 0.5)
        if side * side != images.shape[1]:
            raise DataError(f"X has {images.shape[1]} features, which are no square picture; give [N, H, W]")
        return images.reshape(-1, side, side, 1)

    def _task(self, pictures: np.ndarray, labels: torch.Tensor) -> Classification:
        if pictures.ndim != 4:
            raise DataError(
                f"X has the shape {list(pictures.shape)}; give images, [N, H, W] or [N, H, W, C], or [N, H²]"
            )
        channels_first = pictures.shape[1] in (3, 4) and pictures.shape[3] not in (1, 3, 4)
        height, width = pictures.shape[2:] if channels_first else pictures.shape[1:3]
        channels, side = 1 if pictures.shape[3] == 1 else 3, self.size or min(height, width)
        pixels = Inputs(channels, side, (0.0,) * channels, (1.0,) * channels).pixels(pictures)
        augmentation: list[Augmentation] = [Shift(max(1, side // 8))]
        if self.flip:
            augmentation.append(Flip())
        return classification_of_pixels(
            "given images",
            pixels,
            labels,
            {"train": torch.arange(len(labels))},
            classes=[str(label) for label in self.classes_],
            augmentation=augmentation,
            images=None,
            test_images=None,
            size=None,
            seed=self.random_state,
        )

    def _run(self, task: Classification) -> None:
        preset = self.preset or ("digits" if task.spec.input_shape[1] <= 16 else "cpu")
        if preset not in instanas.PRESETS:
            known = instanas.PRESETS
            raise OptionError(f"there is no preset '{preset}' ({', '.join(known)}){did_you_mean(preset, known)}")
        settings = merge(instanas.PRESETS[preset], dict(self.settings or {}), source="the given settings")
        progress = Terminal(quiet=not self.verbose)
        request = instanas.Request(
            data=task.spec.name,
            space=self.space,
            preset=preset,
            device=self.device,
            threads=self.threads,
            seeds=1,
            seed=self.random_state,
        )
        prepared = instanas.prepare(request, settings, task, resolve(self.space), progress, measured=False)
        config = {"recipe": instanas.COMMAND} | to_dict(prepared.request) | to_dict(settings)
        with RunFolder.create(self.run_, config, "ArchipelClassifier.fit") as folder:
            prepared.run(folder, progress)
        if self.out is not None:
            write_report(self.run_)

    def __getstate__(self) -> dict[str, Any]:
        if "_temporary" in vars(self):
            raise RunError(
                "this ArchipelClassifier was fitted in a temporary folder, which ends with it; to keep it, fit it with "
                "out='FOLDER'"
            )
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}


def _array(images: Any) -> np.ndarray:
    return images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
