"""The way through a proxy: HTTP CONNECT, SOCKS4, SOCKS4a and SOCKS5.

Each protocol is a handshake without I/O (``http_connect``, ``socks4``, ``socks5``) made of the steps in ``steps``;
``tunnel`` carries the steps out on a socket, within the deadline of the whole opening. Nothing here knows IMAP or TLS.
"""
