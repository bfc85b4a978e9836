"""What comes in: manifest, DICOM, video and still readers, de-identification, the echo phantom."""
