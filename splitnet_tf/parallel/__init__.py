"""Placing the nodes of a tree on devices."""
