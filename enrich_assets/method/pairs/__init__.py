"""All pairs: panels of similarity, exactly, by several ways of one computation. `similarity` is the door."""
