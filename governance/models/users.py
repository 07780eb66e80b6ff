"""The person who acts. A service account (`is_service`) acts for the system itself and can never sign in."""

from __future__ import annotations

import uuid

from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.models.governed import Governed, Rights

SYSTEM_EMAIL = "system@gatehouse.invalid"
SEQUENCER_READS = (
    "id", "email", "name", "ledger_id", "is_active", "is_staff", "is_superuser", "is_service", "must_change_password",
    "time_zone", "joined_at", "last_login",
)  # fmt: skip
"""The columns of a person that the sequencer's database login may read: all but the password."""


class UserQuerySet(models.QuerySet):
    """Selections of people."""

    def people(self):
        """Return those who are persons, not service accounts."""
        return self.filter(is_service=False)

    def seen_by_sequencer(self):
        """Return them with the columns that the sequencer's login may read."""
        return self.only(*SEQUENCER_READS)

    def visible_to(self, user):
        """Return whom `user` may see: everyone in the organisation may see names; nobody sees the service account."""
        return self.people() if user.is_authenticated and user.is_active else self.none()


class Users(BaseUserManager.from_queryset(UserQuerySet)):
    """Creates people by e-mail address; Django's own commands call these names."""

    def create_user(self, email, password=None, **fields):
        """Return a new person; raises ValueError without an e-mail address."""
        if not email:
            raise ValueError("A person needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def system(self):
        """Return the service account in whose name the system itself acts."""
        user, _created = self.seen_by_sequencer().get_or_create(
            email=SYSTEM_EMAIL, defaults={"name": "Gatehouse", "is_service": True, "password": "!"}
        )
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """One person of the organisation (or its service account), known by e-mail address.

    `ledger_id` is what the ledger's immutable bytes hold, so that a name can be erased and every proof stays valid.
    `must_change_password` holds while somebody else knows their password: until they choose their own, they can do
    nothing else.
    """

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=150, blank=True)
    ledger_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    is_service = models.BooleanField(default=False)
    must_change_password = models.BooleanField(default=False)
    time_zone = models.CharField(max_length=64, blank=True)
    joined_at = models.DateTimeField(default=timezone.now)

    objects = Users()
    # The sequencer mails receipts and names who acted; what proves who somebody is, is not for it to read.
    rights = Rights(sequencer=f"SELECT ({', '.join(SEQUENCER_READS)})")
    # The service account is made at its first use, before anything could be recorded in anybody's name.
    governed = Governed(operational=("last_login",), born=("email", SYSTEM_EMAIL))

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: list[str] = []

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.name or self.email

    def check_password(self, raw_password):
        """Return whether it is their password. Unlike Django's, never writes: `people.renew_hash` does, and records."""
        return check_password(raw_password, self.password)

    def get_full_name(self) -> str:
        """Return the name shown on pages."""
        return str(self)

    def get_short_name(self) -> str:
        """Return the first word of the name."""
        return str(self).split(" ")[0].split("@")[0]
