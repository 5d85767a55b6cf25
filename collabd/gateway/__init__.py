"""The listening sockets: tells WebSocket upgrades from HTTP, moves frames in and out, hands HTTP to Hypercorn.

Law of this package: shells only move bytes; what they mean is decided in collabd.protocol and collabd.hub.
"""
