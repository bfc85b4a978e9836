"""The built-in phantom archive: anatomy, ultrasound, files."""
