"""What must hold in every database, and what is wrong with one."""
