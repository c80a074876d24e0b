"""The connection to an S3 endpoint, which all directories of a process share."""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import minio

from ssd_core.errors import UsageError
from ssd_core.store.s3.settings import S3Settings
from ssd_core.store.s3.transport import PatientPool, open_pool


@dataclass(frozen=True, slots=True)
class S3Connection:
    """A client of one endpoint, and the pool that carries its requests."""

    settings: S3Settings
    pool: PatientPool
    client: minio.Minio


@lru_cache(maxsize=16)
def connect(settings: S3Settings, process: int) -> S3Connection:
    """Return the connection that all directories of this process share; a fork gets its own."""
    del process
    pool = open_pool(settings)
    return S3Connection(settings, pool, _open_client(settings, pool))


def _open_client(settings: S3Settings, pool: PatientPool) -> minio.Minio:
    parts = urlsplit(settings.endpoint)
    try:
        client = minio.Minio(
            parts.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            session_token=settings.session_token,
            secure=parts.scheme == "https",
            region=settings.region,
            http_client=pool,
        )
    except ValueError as error:
        raise UsageError(
            f"{settings.endpoint}: {error}; check AWS_ENDPOINT_URL and AWS_REGION"
        ) from None
    if settings.addressing == "virtual":
        client.enable_virtual_style_endpoint()
    elif settings.addressing == "path":
        client.disable_virtual_style_endpoint()
    return client
