"""Files to frames: video, stills, DICOM behind one door (`reading`), and masks."""
