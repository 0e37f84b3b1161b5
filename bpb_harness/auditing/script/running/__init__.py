"""The one thing of a script that may run, if the user says so: its byte table."""
