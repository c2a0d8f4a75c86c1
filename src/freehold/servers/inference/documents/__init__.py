"""Documents that a chat can be asked about: their text, passages and vectors."""
