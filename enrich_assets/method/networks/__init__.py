"""What is trained on a subset: the two networks, one training loop, classification and segmentation."""
