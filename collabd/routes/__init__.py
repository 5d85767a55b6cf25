"""The web shell: the Quart-Trio app with all HTTP routes, and the slower WebSocket route.

Law of this package: routes translate between HTTP and the hub; they decide nothing. Only here is Quart imported.
"""
