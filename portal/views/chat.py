"""The page on which people talk to a published language model; what answers is /v1, in their own session."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from governance.interfaces.declared import declares
from portal.gateway.openai import catalogue
from training.models import RegisteredModel
from training.services import registry

DEFAULT_TOKENS = 512


@declares("signed_in")
@require_GET
def chat(request, team, name):
    """Show the conversation with a model, what it may be used for, and why it does not answer where it does not."""
    rows = RegisteredModel.objects.visible_to(request.user).select_related("team", "use_case")
    model = get_object_or_404(rows, team__slug=team, name=name)
    if model.task != catalogue.GENERATION:
        raise Http404
    context = {"model": model, "chat_url": reverse("openai:chat"), "limit": settings.PREDICT_MAX_CHARACTERS}
    alias = request.GET.get("alias", registry.DEFAULT_ALIAS)
    try:
        publication = registry.servable(user=request.user, model=model, alias=alias)
    except registry.NotPublished as error:
        return render(request, "portal/chat.html", context | {"refusal": error.reason})
    publication.model = publication.version.model = model
    context |= {
        "publication": publication,
        "model_id": catalogue.name_of(publication),
        "max_tokens": settings.GENERATION_MAX_TOKENS,
        "default_tokens": min(DEFAULT_TOKENS, settings.GENERATION_MAX_TOKENS),
    }
    return render(request, "portal/chat.html", context)
