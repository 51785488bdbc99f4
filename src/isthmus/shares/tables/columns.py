"""Column types and the times that most rows carry."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.dialects.mysql import DATETIME as MYSQL_DATETIME
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import DateTime

Moment = DateTime().with_variant(MYSQL_DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
Id = String(36)
Keystone = String(64)
"""A user's or project's id."""
Word = String(64)
Name = String(255)


class Stamped:
    """Creation and change times of a row."""

    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
