"""The Model Context Protocol on the wire, by its SDK: the only package of this room that knows it."""
