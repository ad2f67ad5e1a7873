"""Signed and sealed questions and answers between members, over the network and through relays."""
