"""Trained models for other programs: files that say what is in them.

`export.write` makes one file, ONNX, StableHLO or safetensors, and `page.write`
a folder for web browsers. Each file is read back and compared with JAX before
it is handed out.
"""
