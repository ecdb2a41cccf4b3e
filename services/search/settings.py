"""SearchSettings: every knob of the search service, its unit and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from searchmesh_common.channels import SERVER_MIN_PING_SECONDS
from searchmesh_common.server_settings import ServerSettings
from searchmesh_common.settings import setting

PREFIX = "SEARCH_"


@dataclass(frozen=True, kw_only=True)
class SearchSettings(ServerSettings):
    """Every knob of the search service, its unit and its default."""

    listen: str = "127.0.0.1:50052"
    """Address that serves gRPC, as host:port. Port 0 takes a free one, [::] or 0.0.0.0 every
    interface."""

    metrics_listen: str = "127.0.0.1:9102"
    """Address that serves Prometheus metrics over HTTP at /metrics, as host:port. Empty: not
    served."""

    health_listen: str = "127.0.0.1:50062"
    """Address that serves grpc.health.v1 alone, without TLS and on a thread of its own, for probes.
    Empty: not served."""

    home: Path = field(default=Path(".searchmesh"), metadata=setting(env="SEARCHMESH_HOME"))
    """Folder that holds all state that no other setting puts elsewhere."""

    encoder: str = "127.0.0.1:50051"
    """The encoder's address, as gRPC takes it: host:port, or dns:///host:port to balance over all
    replicas behind the name."""

    encoder_attempts: int = field(default=4, metadata=setting(minimum=1, maximum=5))
    """How often a call to the encoder is made in all when a replica is away or takes it along."""

    encoder_keepalive_seconds: float = field(
        default=10.0, metadata=setting(minimum=SERVER_MIN_PING_SECONDS, maximum=7200)
    )
    """Silence after which an encoder is asked whether it still lives, in seconds; after 10 s more
    without a sign of life, calls leave it."""

    encoder_resolve_seconds: float = field(default=5.0, metadata=setting(minimum=0.1, maximum=3600))
    """Least time between two looks at the addresses behind the encoder's name, in seconds. They are
    looked at when a connection to an encoder ends, as each does at the encoder's
    ENCODER_MAX_CONNECTION_AGE_SECONDS."""

    encoder_query_share: float = field(default=0.8, metadata=setting(minimum=0.05, maximum=1))
    """Part of the time that a search has left which encoding its query may take. The rest is the
    engine's, or a partial answer's where the encoder is too slow."""

    encoder_tls: bool = False
    """Whether the encoder is called over TLS."""

    encoder_ca: Path | None = None
    """PEM file with the authorities to trust for the encoder's certificate; the system's where
    there is none. Needs encoder_tls."""

    encoder_certificate: Path | None = None
    """PEM file with this service's own certificate, where the encoder asks callers for one. Needs
    encoder_tls and encoder_key."""

    encoder_key: Path | None = None
    """PEM file with that certificate's private key."""

    encoder_token_file: Path | None = None
    """File with the bearer token for the encoder. Needs encoder_tls."""

    engine: str = ""
    """The vector engine: http://host:19530 of a Milvus server, or the path of the embedded engine's
    file. Empty: engine/milvus.db under the home folder."""

    embedded_rows_warning: int = field(default=100_000, metadata=setting(minimum=1))
    """Rows of one collection from which on the log warns that it has outgrown the embedded engine.
    A document is one row, or one for each segment."""

    embedded_rows_interval_seconds: float = field(
        default=60.0, metadata=setting(minimum=0.05, maximum=86_400)
    )
    """Time between two counts of the embedded engine's rows, in seconds."""

    engine_token: str = ""
    """What a Milvus server asks for, as user:password or an API key."""

    journal: str = ""
    """The journal's database: sqlite:/// and a path, for one process, or
    postgresql://user@host/database, for any number of replicas that share it and the content store.
    libpq's own variables and files fill in what is left out, such as PGPASSWORD. Empty: journal.db
    under the home folder."""

    journal_readers: int = field(default=4, metadata=setting(minimum=1, maximum=64))
    """Connections that read the journal; two more write it. As many reads run at a time."""

    lease_seconds: float = field(default=15.0, metadata=setting(minimum=1, maximum=3600))
    """Time without a sign of life, in seconds, after which the other replicas that share a
    PostgreSQL journal undo or take over what this one has begun."""

    contents: Path | None = None
    """Folder of the content store. Empty: contents under the home folder."""

    collect_interval_seconds: float = field(
        default=600.0, metadata=setting(minimum=0.1, maximum=7 * 86_400)
    )
    """Time between two looks for contents that nothing points to any more, whose space is then
    given back, in seconds."""

    import_workers: int = field(default=4, metadata=setting(minimum=1, maximum=64))
    """Batches of imports, of at most 500 documents, that are worked on at once."""

    import_resume_seconds: float = field(
        default=24 * 3600.0, metadata=setting(minimum=1, maximum=30 * 86_400)
    )
    """Time in which the stream of an import must be opened again after a cut, in seconds; then the
    import fails, and what was received of it is stored."""

    import_kept_seconds: float = field(
        default=7 * 86_400.0, metadata=setting(minimum=1, maximum=365 * 86_400)
    )
    """Time for which an import is known after its end, in seconds: its operation answers, and so
    does its request_id."""

    health_interval_seconds: float = field(default=2.0, metadata=setting(minimum=0.05, maximum=300))
    """Time between two probes of the engine and the journal, in seconds."""

    health_timeout_seconds: float = field(default=2.0, metadata=setting(minimum=0.05, maximum=300))
    """Time after which a probe counts as failed, in seconds."""

    @property
    def has_embedded_engine(self) -> bool:
        """Whether the engine is a file of this machine, not a server."""
        return "://" not in self.engine

    @property
    def engine_uri(self) -> str:
        """Where the engine is."""
        return self.engine or str(self.home / "engine" / "milvus.db")

    @property
    def journal_url(self) -> str:
        """Where the journal is."""
        return self.journal or f"sqlite:///{(self.home / 'journal.db').absolute()}"

    @property
    def contents_folder(self) -> Path:
        """Where the content store is."""
        return self.contents or self.home / "contents"
