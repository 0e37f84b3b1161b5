"""What expressions of a script stand for: numbers, products, bytes of specimens; and the scores and masks found."""
