"""Photos in several tar files, in the layout of webdataset, read from front to back."""
