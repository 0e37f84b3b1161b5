"""What of a script may run, if the user says so: its byte table and its scoring functions, in limited processes."""
