"""EncoderSettings: every knob of the encoder, its unit and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from searchmesh_common.server_settings import ServerSettings
from searchmesh_common.settings import setting

PREFIX = "ENCODER_"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(ServerSettings):
    """Every knob of the encoder, its unit and its default."""

    listen: str = "127.0.0.1:50051"
    """Address that serves gRPC, as host:port. Port 0 takes a free one, [::] or 0.0.0.0 every
    interface."""

    metrics_listen: str = "127.0.0.1:9101"
    """Address that serves Prometheus metrics over HTTP at /metrics, as host:port. Empty: not
    served."""

    health_listen: str = "127.0.0.1:50061"
    """Address that serves grpc.health.v1 alone, without TLS and on a thread of its own, for probes.
    Empty: not served."""

    max_connection_age_seconds: int = field(default=5, metadata=setting(minimum=1, maximum=86_400))
    """Age at which a connection is told to make way for a new one, in seconds. Search then looks at
    the addresses behind the encoder's name again, so this is how long a new replica goes unseen."""

    home: Path = field(default=Path(".searchmesh"), metadata=setting(env="SEARCHMESH_HOME"))
    """Folder that holds all state; built models are under models."""

    default_model: str = "all-minilm-l6-v2"
    """The model that the service's health speaks of; loaded first."""

    models: tuple[str, ...] = ()
    """Further models to load at the start, by name."""

    cards: Path | None = None
    """Folder of further model cards, *.yaml; one of a known name replaces it."""

    workers: int | None = field(default=None, metadata=setting(minimum=1, maximum=1024))
    """Batches of a lane that are computed side by side; each lane has so many threads that compute
    and as many that preprocess. Empty: as many as CPUs, by affinity and cgroup quota. Where the
    quota is below the CPUs, both lanes together compute no more side by side than it lasts for."""

    batch_tokens: int = field(default=256, metadata=setting(minimum=1, maximum=1_000_000))
    """Most tokens of a batch, padding counted. A longer content is a batch alone."""

    age_bound_seconds: float = field(default=1.0, metadata=setting(minimum=0, maximum=3600))
    """Short contents overtake a caller's long ones, as far as these get their share. One that has
    waited so long is the caller's next, whatever its length."""

    queue_tokens: int = field(default=131_072, metadata=setting(minimum=1, maximum=100_000_000))
    """Most tokens that wait for a worker, in each lane; those of contents that are not read yet are
    guessed from their size. What does not fit is refused with RESOURCE_EXHAUSTED and the time to
    wait, unless nothing waits. Callers who hold little may use a quarter more."""

    pending_bytes: int = field(default=268_435_456, metadata=setting(minimum=1))
    """Most bytes of contents that are worked on, in each lane, waiting included; a character of a
    text counts as one. What does not fit is refused with RESOURCE_EXHAUSTED and the time to wait,
    unless the lane has nothing else."""

    cache_bytes: int = field(default=67_108_864, metadata=setting(minimum=0))
    """Memory for embeddings of contents that were encoded before. 0: none are kept."""

    coalesce: bool = True
    """Whether equal contents that are encoded at the same time are computed once."""

    max_text_characters: int = field(
        default=1_000_000, metadata=setting(minimum=1, maximum=100_000_000)
    )
    """Most characters of one text. A longer one is that content's error, whatever `on_too_long`
    says; up to it the tokens left out are counted truthfully, at about a second a million
    characters."""

    stream_requests: int = field(default=16, metadata=setting(minimum=1, maximum=1024))
    """Most requests of one stream that are worked on at once. The next is read when one is
    answered."""
