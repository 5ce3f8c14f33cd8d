"""The health of a data set: sounds, annotations and findings, before anything is trained."""
