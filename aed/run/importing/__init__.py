"""Import of models of other tools: what a file is, whose front end and classes it has, and what is written."""
