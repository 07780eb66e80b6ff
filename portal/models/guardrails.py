"""What is looked for in what people send to a model and in what it answers, and whether any of that is kept."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from governance.models.governed import Governed
from governance.policy import Permission
from governance.services import access
from training.models import RegisteredModel


class GuardrailPolicyQuerySet(models.QuerySet):
    """Selections of policies."""

    def visible_to(self, user):
        """Return the policies of the models that the person may see: whoever uses a model knows what is looked for."""
        return self.filter(model__in=RegisteredModel.objects.visible_to(user))


class GuardrailPolicy(models.Model):
    """The guardrails of one model; a model without a row has none. `rules` are what `portal.gateway.guardrails` takes.

    `keep_days` is for how many days what was said is kept, encrypted, for feedback; with zero it is not kept at all.
    """

    model = models.OneToOneField(RegisteredModel, models.PROTECT, related_name="guardrail_policy")
    rules = models.JSONField(default=dict)
    keep_days = models.PositiveIntegerField(default=0)
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    set_at = models.DateTimeField(default=timezone.now)

    objects = GuardrailPolicyQuerySet.as_manager()
    governed = Governed()

    class Meta:
        verbose_name_plural = "guardrail policies"

    def __str__(self) -> str:
        return f"Guardrails of {self.model}"

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.model.team_id

    @staticmethod
    def may_tighten(user, model: RegisteredModel) -> bool:
        """Return whether the person may at least make the model stricter."""
        return access.allows(user, Permission.GUARDRAIL_SET, model) or access.allows(
            user, Permission.GUARDRAIL_TIGHTEN, model
        )
