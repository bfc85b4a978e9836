"""Pictures: cone, crop, resize, augmentation. Arrays in, arrays out."""
