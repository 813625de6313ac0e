"""
One id, and everything that it connects to. Pure: it asks an inventory and its graph, and reads nothing itself.

`names` says what a word of the user can mean, `picture` connects what was meant, `why` finds what keeps a directory
alive, and `view` is what they make together: the value that the reports show.
"""
