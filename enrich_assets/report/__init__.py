"""What is shown: figures and the one-page report, drawn from published tables alone."""
