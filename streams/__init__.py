"""What happens to events: the Faust binding at the rim and the pure tasks inside."""
