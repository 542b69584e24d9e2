"""Photos: readers, decoding, preprocessing, augmentation."""
