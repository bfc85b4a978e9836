"""How each labelling tool writes down labels: one module per format, each turning an export into statements.

A statement is what the tool records of one image; which frame that is, and whether to believe it, `labels.reading` decides.
"""
