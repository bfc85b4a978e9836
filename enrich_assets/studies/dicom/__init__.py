"""DICOM: folders, headers, pixels, and what identifies a patient."""
