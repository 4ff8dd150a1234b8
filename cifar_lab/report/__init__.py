"""Results, the ladder's table, pictures: what is made of finished runs."""
