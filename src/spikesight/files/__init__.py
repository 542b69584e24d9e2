"""How files of users are found and opened: one walker, one opener and one table of limits."""
