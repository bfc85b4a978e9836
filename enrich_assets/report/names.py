"""Names of the report's files, which lie beside one another in home."""

FINDINGS, PICTURES, CHECKS = "report.html", "report-pictures.html", "report-checks.html"
