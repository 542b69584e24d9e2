"""Images from files to batches: readers, splits, augmentation and order.

    loaders = build_loaders(config, batch_size=128, seed=0)
    loaders.train.set_epoch(epoch, start_batch)
    for batch, (images, labels) in enumerate(loaders.train, start=start_batch):
        generator = loaders.train.generator(batch)
        images = loaders.batch_transform_train(images.to(device), generator)

A loader gives uint8 images `[B, C, H, W]` (frames of events: `[B, T, C, H, W]`) and int64 labels
`[B]`; the batch transform augments and normalises them on the device where they are. Everything
random is a pure function of the seed, the epoch and the batch, so that a resumed run sees the
same images.
"""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
