"""The command line: the parser, the table of commands, one file for each group of them."""
