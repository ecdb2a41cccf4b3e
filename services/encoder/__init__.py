"""The encoder: turns contents into vectors with ONNX Runtime."""
