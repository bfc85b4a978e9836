"""What comes in: manifests, drops, DICOM, videos and stills, masks, label files, de-identification, the echo phantom."""
