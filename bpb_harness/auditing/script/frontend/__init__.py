"""Reading scripts: text out of files and wrappers, and the program that they make: names, calls, scopes."""
