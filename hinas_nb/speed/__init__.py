"""What a network costs, in parameters, multiply-adds, memory and milliseconds, and its export to other engines."""
