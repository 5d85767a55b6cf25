"""What operators' commands do: asking a server's admin routes and showing the answers.

Law of this package: it knows a server by its HTTP routes only, so that every command works against a remote one too.
"""
