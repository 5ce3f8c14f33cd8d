"""What goes into a firmware project: a C library, or ST's firmware with the net in it."""
