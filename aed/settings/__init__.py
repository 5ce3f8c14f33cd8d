"""From typed words to checked settings: schemas of the signatures, quoting, errors that say what to type."""
