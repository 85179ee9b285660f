"""What stands in front of a service: it ends TLS, and can hold answers back."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BLOCK = 65_536


class Authority:
    """A certificate authority that nobody knows but who is given `file`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("an authority of our own")
        begun = self._builder(self._name, self._key)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        begun = begun.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = begun.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def context(self, host: str) -> ssl.SSLContext:
        """A server's, with a certificate for this name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        begun = self._builder(_named(host), key).add_extension(x509.SubjectAlternativeName([name]), critical=False)
        certificate = begun.add_extension(self._identifier, critical=False).sign(self._key, hashes.SHA256())
        both = self._folder / f"{host}.pem"
        both.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(both)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class Front:
    """A running one. While `is_open` is not set no answers come through."""

    url: str
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[bytes] = field(default_factory=list)
    """What came first on each connection."""


@asynccontextmanager
async def front(service: str, context: ssl.SSLContext | None = None) -> AsyncIterator[Front]:
    """In front of the service with this URL; without a context it speaks plain HTTP."""
    behind = urlsplit(service)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        its_reader, its_writer = await asyncio.open_connection(behind.hostname, behind.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_ask(reader, its_writer))
                both.create_task(_answer(its_reader, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, its_writer):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        while block := await reader.read(BLOCK):
            if first:
                found.calls.append(block)
            first = False
            writer.write(block)
            await writer.drain()
        writer.close()

    async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(BLOCK):
            await found.is_open.wait()
            writer.write(block)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    found = Front(f"{'http' if context is None else 'https'}://127.0.0.1:{port}")
    found.is_open.set()
    try:
        yield found
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
