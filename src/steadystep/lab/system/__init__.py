"""What the lab needs of the operating system: atomic files, a fork server, heap settings."""
