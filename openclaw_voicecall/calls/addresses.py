"""Under which addresses carriers reach us: this machine's for the local line, the public one for all others."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from openclaw_voicecall.calls.engines import LOCAL_LINE

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

_SOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class Addresses:
    """Webhook and media addresses of every carrier.

    Args:
        config: `publicUrl` is the webhook of the configured provider as the carrier sees it; another carrier's is one
            step below it. Without it the address of this machine is given out, which only the local line can use.
        here: `host:port` we listen at.
    """

    def __init__(self, config: "VoiceCallConfig", here: str) -> None:
        self._provider = config.provider
        self._own = f"http://{here}{config.serve.path.rstrip('/')}"
        self._public = config.public_url.rstrip("/") if config.public_url else None
        self._path = config.serve.path.rstrip("/")
        self._learned: str | None = None
        self._stream_path = config.streaming.stream_path.rstrip("/")

    def webhook(self, carrier: str) -> str:
        """URL that a carrier's questions and reports go to."""
        public = self._public or self._learned
        if carrier == LOCAL_LINE or public is None:
            return f"{self._own}/{carrier}"
        return public if carrier == self._provider else f"{public}/{carrier}"

    def stream(self, carrier: str, token: str) -> str:
        """URL of a media stream."""
        public = self._public or self._learned
        parts = urlsplit(self._own if carrier == LOCAL_LINE or public is None else public)
        path = f"{self._stream_path}/{carrier}/{token}"
        return urlunsplit((_SOCKET_SCHEMES[parts.scheme], parts.netloc, path, "", ""))

    @property
    def known(self) -> tuple[str | None, str | None]:
        """The public address, and what was learned of it: what another process of the service has to know."""
        return self._public, self._learned

    def adopt(self, known: tuple[str | None, str | None]) -> None:
        """Give out what another process of the service knows."""
        self._public, self._learned = known

    def move(self, public_url: str) -> None:
        """Give out another public address from now on: a tunnel that was opened again may have one."""
        self._public = public_url.rstrip("/")

    def learn(self, carrier: str, origin: str) -> None:
        """A carrier has reached us under this scheme and host: given out where the configuration has no public URL.

        Args:
            carrier: Whose signed request told so, for the first time: nothing is learned from a repetition.
            origin: Such as `https://voice.example.com`; empty when it told nothing.
        """
        if origin and self._public is None and carrier != LOCAL_LINE:
            self._learned = origin + self._path

    def as_asked(self, carrier: str, url: str, *, origin: str = "") -> str:
        """The URL a carrier asked for, from the one that reached us: ours is the query, the rest is what we gave out.

        Proxies and tunnels change scheme, host and path, and signatures are made over what the carrier saw. Nothing
        that a stranger can say in a header has a part in it.

        Args:
            carrier: Whose webhook it is.
            url: The URL that reached us.
            origin: Scheme and host that a trusted proxy tells; counts only without a public URL.
        """
        reached = urlsplit(url)
        asked = self.webhook(carrier)
        if origin and self._public is None and carrier != LOCAL_LINE:
            asked = origin + reached.path
        return asked + (f"?{reached.query}" if reached.query else "")

    def is_ours(self, origin: str) -> bool:
        """Whether the `Origin` of a browser's request is a page of ours."""
        host = urlsplit(origin).netloc.lower()
        known = (self._own, self._public, self._learned)
        return bool(host) and host in {urlsplit(url).netloc.lower() for url in known if url}
