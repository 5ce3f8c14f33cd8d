"""From a folder of labelled sounds to a microcontroller that recognises them."""
