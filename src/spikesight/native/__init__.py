"""The kernels in C++ (sources in `native/` beside `src/`), called with addresses of tensors.

They are built with the wheel where a C++ compiler is at hand and know nothing of Python's or
PyTorch's version. Where they are absent everything else works, more slowly.
"""
