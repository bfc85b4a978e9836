"""Labels from and worklists to the annotation tools."""
