"""Labels read from manifests and imports, label files imported, and what to label next."""
