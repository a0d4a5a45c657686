"""The environment, read once into one typed, frozen object. Every variable of the product stands here."""

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PRODUCTION_ONLY = ("amqp_url", "gcs_bucket", "smtp_url", "jwt_private_key")


class SettingsError(Exception):
    """The environment can't be used; the text is one line that names the variables."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    env: Literal["development", "production"] = "development"
    mongodb_url: str
    database_url: str
    redis_url: str
    amqp_url: str | None = Field(None, validation_alias=AliasChoices("AMQP_URL", "CLOUDAMQP_URL"))
    gcs_bucket: str | None = None
    cdn_base_url: str | None = None
    smtp_url: str | None = None
    jwt_private_key: str | None = None  # PEM, ES256; unset in development: made once under data_dir
    data_dir: Path = Path(".data")

    host: str = "0.0.0.0"
    port: int = Field(8080, ge=0, le=65535)
    web_concurrency: int = Field(1, ge=1, le=256)
    serve: str = ""  # handler modules, comma-separated; empty: all
    public_url: str = "http://localhost:8080"  # issuer of tokens
    trust_proxy: int = Field(0, ge=0)  # how many proxies in front append to X-Forwarded-For

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    rate_limits: Literal["on", "off"] = "on"
    rate_limit_factor: float = Field(1.0, gt=0)  # multiplies every limit
    drain_seconds: float = Field(10.0, ge=0)

    topic_entries_max: int = Field(1_000, ge=1)  # kept events a topic
    topic_age_max_s: int = Field(600, ge=1)
    topic_bytes_max: int = Field(1 << 20, ge=1)

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsError, which names every variable that is missing or wrong."""
        try:
            return cls()
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg']}" for e in error.errors())
            raise SettingsError("; ".join(faults)) from None

    @model_validator(mode="after")
    def complete_in_production(self) -> Self:
        if self.env == "production":
            missing = [name.upper() for name in PRODUCTION_ONLY if getattr(self, name) is None]
            if missing:
                raise ValueError(f"ENV=production needs {', '.join(missing)}")
            if self.rate_limits == "off":
                raise ValueError("RATE_LIMITS=off is refused with ENV=production")
        return self
