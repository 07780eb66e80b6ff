"""Which model an id means, and whether this caller may use it at this moment."""

from __future__ import annotations

from django.db.models import Q

from governance.models import User
from governance.services import access
from portal.gateway.openai.errors import Invalid, NoSuchModel
from training.models import Publication, RegisteredModel
from training.services import registry

GENERATION = "text-generation"
EMBEDDING = "sentence-similarity"
TASKS = (GENERATION, EMBEDDING)
LISTED = 500


def find(user: User, model_id: str) -> Publication:
    """Return the publication that answers for an id now; raises NoSuchModel."""
    path, _, alias = model_id.partition(":")
    team, _, name = path.partition("/")
    rows = RegisteredModel.objects.callable_by(user).select_related("team", "use_case")
    model = rows.filter(team__slug=team, name=name).first() if team and name else None
    if model is None:
        raise NoSuchModel(f"The model “{model_id[:200]}” does not exist or is not published to you.")
    try:
        publication = registry.servable(user=user, model=model, alias=alias or registry.DEFAULT_ALIAS)
    except registry.NotPublished as error:
        raise NoSuchModel(error.reason, denied=error) from error
    publication.model = publication.version.model = model
    return publication


def require_task(publication: Publication, task: str) -> None:
    """Raise Invalid where the model is not for this."""
    if publication.model.task == task:
        return
    where = {
        GENERATION: "/v1/chat/completions and /v1/completions",
        EMBEDDING: "/v1/embeddings",
        "text-classification": f"/api/v1/models/{publication.model}/predict",
    }.get(publication.model.task, f"/api/v1/models/{publication.model}/predict")
    raise Invalid(
        f"{publication.model} is for {publication.model.task}; it answers at {where}.",
        param="model",
        code="unsupported_model",
    )


def offered(user: User) -> list[Publication]:
    """Return what the caller may use here, champions first, each as it stands at this moment."""
    inside = access.visible(RegisteredModel.objects.all(), user, "model.use").values("pk")
    usable = RegisteredModel.objects.usable_by(user).filter(task__in=TASKS)
    return list(
        Publication.objects.live()
        .filter(Q(audience=Publication.Audience.ORGANISATION) | Q(model__in=inside), model__in=usable.values("pk"))
        .select_related("model__team", "model__use_case", "version__commit")
        .order_by("model__team__slug", "model__name", "-published_at")[:LISTED]
    )


def name_of(publication: Publication) -> str:
    """Return the id under which a publication is called."""
    champion = publication.alias == registry.DEFAULT_ALIAS
    return str(publication.model) if champion else f"{publication.model}:{publication.alias}"


def describe(publication: Publication) -> dict:
    """Return a model as clients list it; `governance` is ours, and reaches whoever looks for it."""
    version = publication.version
    return {
        "id": name_of(publication),
        "object": "model",
        "created": int(publication.published_at.timestamp()),
        "owned_by": publication.model.team.slug,
        "governance": {
            "title": publication.model.title,
            "task": publication.model.task,
            "use_case": publication.model.use_case.title,
            "intended_use": publication.intended_use,
            "audience": publication.audience,
            "version": version.number,
            "commit": version.commit.oid,
        },
    }
