"""The report: figures and one HTML page, drawn from published tables alone. Here: drawing and words, no statistics."""
