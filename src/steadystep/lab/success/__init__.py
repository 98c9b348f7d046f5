"""Success rates: the share of training runs that solve a problem, as a function of the sequence length."""
