"""From a decoded frame to the picture a model sees: find the cone, crop, resize, digest; augmentation. Arrays in, arrays out.

Decoding and de-identification belong to `studies`, keeping to `store`.
"""
