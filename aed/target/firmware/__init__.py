"""Files for a firmware project: a library of C, or a package for ST's audio firmware."""
