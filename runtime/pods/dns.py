"""A pod's resolv.conf, resolv.conf(5)."""

from runtime.network import DnsConfig
from store.errors import InvalidArgumentError


def resolv_conf(dns: DnsConfig) -> str:
    """Return the file's text.

    Raises:
        InvalidArgumentError: a value that would break out of its line.
    """
    for field, values in (
        ("servers", dns.servers),
        ("searches", dns.searches),
        ("options", dns.options),
    ):
        for value in values:
            if not value.isprintable() or " " in value:
                raise InvalidArgumentError(f"cannot use dns_config.{field} entry {value!r}")
    lines = []
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "".join(line + "\n" for line in lines)
