"""What a store can do without: found by kind, told, removed."""
