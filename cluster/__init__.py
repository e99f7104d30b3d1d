"""What raypipe knows of machines and clusters; it knows nothing of the data."""
