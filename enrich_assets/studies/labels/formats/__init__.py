"""How each labelling tool writes down labels: one module per format, each turning an export into statements.

A statement is what the tool says of one image; which frame that is, and whether to believe it,
`labels_import` decides.
"""
