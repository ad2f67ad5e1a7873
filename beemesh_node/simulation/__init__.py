"""A virtual network and clock around the decision core."""
