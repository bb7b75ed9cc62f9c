"""Pure: a gateway and a node go in, the text of every file on that node comes out."""
