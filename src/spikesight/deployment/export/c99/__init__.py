"""A network as one C99 file: layers, loops, memory, tables, kernels, golden vectors."""
