"""Exports: what exactness asks, ONNX, OpenVINO, NIR and their runtimes."""
