"""What a network costs: prices of operations, fan-out, energy, the audit and their page."""
