"""The default gateway: a proxy for HTTP, CONNECT and SOCKS5."""
