"""What a command says to people: text laid out for a width, apart from where it is printed."""
