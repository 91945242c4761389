"""Network interface of a server of this process; TensorFlow's servers always take every one."""

from __future__ import annotations

import ipaddress
import os
import socket

from splitnet_tf.errors import ClusterError

ANY = "any"


def keep_to_interface(port: int, interface: str) -> None:
    """Lets only connections through ``interface`` reach a port that this process listens on.

    TensorFlow's server binds to every interface, whatever address it is given; the kernel is told
    here to pass over its socket for packets that come in elsewhere. Between the server's start and
    this call, milliseconds, it can be reached from everywhere.

    Args:
      port: int, port of the server.
      interface: ``lo`` (this machine alone), another interface's name, or ``any``.

    Raises:
      ClusterError: there is no such interface, or the system cannot do it.
    """
    if interface == ANY:
        return
    option = getattr(socket, "SO_BINDTODEVICE", None)
    if option is None:
        raise ClusterError(
            "This system cannot keep a server to one interface; behind a firewall of your own, "
            "choose `interface=any`."
        )
    found = 0
    for listening in _listening(port):
        with listening:
            try:
                listening.setsockopt(socket.SOL_SOCKET, option, interface.encode() + b"\0")
            except OSError as error:
                names = ", ".join(name for _, name in socket.if_nameindex())
                raise ClusterError(
                    f"Port {port} cannot be kept to interface '{interface}' ({error.strerror}); "
                    f"there are {names}, and {ANY}."
                ) from None
            found += 1
    if not found:
        raise ClusterError(f"No socket of this process listens on port {port}.")


def _listening(port: int):
    """Yields duplicates of this process' sockets that listen on a port."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # closed meanwhile
            continue
        try:
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and found.getsockname()[1] == port:
                yield found
                continue
        except (OSError, IndexError):  # a socket of another kind
            pass
        found.close()


def free_port() -> int:
    """Finds a TCP port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def is_loopback(address: str) -> bool:
    """Returns True when ``host:port`` is on this machine's loopback interface."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def own_address(other: str) -> str:
    """Finds this machine's address as ``other``, ``host:port``, sees it."""
    host, _, port = other.rpartition(":")
    kind = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind[0], socket.SOCK_DGRAM) as probe:
        probe.connect(kind[4])  # sends nothing
        address = probe.getsockname()[0]
    return f"[{address}]" if ":" in address else address
