"""What is trained on a subset: networks, the training loop, classification and segmentation."""
