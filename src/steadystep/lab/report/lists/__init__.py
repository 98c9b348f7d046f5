"""The tables of the commands that list something, as data; each is imported alone, so that a list appears at once."""
