"""A home kept whole: what is missing or damaged in it (`findings`, `databases`), and how it is mended (`repair`)."""
