"""Where a server waits for connections."""

import socket

from steps.sentiment.command_line import InputError


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; processes may share it.

    Raises:
        InputError: the address is not ours, or the port is taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise InputError(
            f"host={host}, port={port}: {error.strerror or error}; allowed: an address of this machine and a free port"
        ) from error
    return listening
