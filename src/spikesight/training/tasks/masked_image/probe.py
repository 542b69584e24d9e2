"""What a frozen trunk knows of the classes: a linear classifier of its pooled last map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from spikesight.data import Preprocessing
from spikesight.models import MaskedAutoencoder

Batches = Iterable[tuple[Tensor, Tensor]]

_ITERATIONS = 200


@torch.no_grad()
def probe_trunk(
    model: MaskedAutoencoder,
    train: Batches,
    validation: Batches,
    preprocessing: Preprocessing,
    device: torch.device,
) -> float:
    """Top-1 in percent of a linear classifier on the pooled last map of the frozen trunk.

    The trunk sees whole images, of which its normalisations know nothing after pre-training: their
    statistics are those of the labelled images while it is probed. The classifier is scikit-learn's
    logistic regression on standardised features, from zero, so that nothing is random.

    Args:
        model: The trunk and its decoder; it is as before afterwards.
        train: Images uint8 [B, C, H, W] and labels [B] to learn from.
        validation: Such to measure on.
        preprocessing: What turns images into the model's input.
        device: Where the model is.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    class Features(nn.Module):
        """The pooled features of raw images."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            return model.features(preprocessing.batch_transform(images.to(device), None))

    def read(batches: Batches) -> tuple[Tensor, Tensor]:
        pairs = [(features(images).double().cpu(), labels) for images, labels in batches]
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])

    features = Features()
    with _statistics_kept(model):
        update_bn(train, features)
        features.eval()
        known, asked = read(train), read(validation)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    classifier.fit(known[0].numpy(), known[1].numpy())
    return 100 * float(classifier.score(asked[0].numpy(), asked[1].numpy()))


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
        model.train(was_training)
