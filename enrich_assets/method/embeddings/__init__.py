"""Vectors: the beta-VAE and its health, principal components, ONNX networks; whether they tell frames apart; fixed point."""
