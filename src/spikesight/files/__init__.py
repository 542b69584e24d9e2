"""How files of users are found, opened and read: one walker, one opener, one table of limits."""
