"""A page that listens: the C of a device as WebAssembly, in a folder that any web server can serve."""
