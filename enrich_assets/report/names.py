"""Names of the report's files, which lie beside one another in home."""

FINDINGS, PICTURES, FRAMES, CHECKS = "report.html", "report-pictures.html", "report-frames.html", "report-checks.html"
