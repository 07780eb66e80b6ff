"""Registered models as repositories: `main` and aliases are publications, `v1` and commit ids are versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.functional import cached_property

from governance.models import User
from governance.policy import Permission
from governance.services import access
from portal.gateway.hub.repos import MAIN, MODELS, OID, TAG, Ref, Refs, no_repo, stands_for_nothing, tags_of, unknown
from projects.models import Commit
from training.models import ModelVersion, Publication, RegisteredModel
from training.services import handouts, registry

State = Publication.State
ENDED = {State.SUSPENDED, State.RETIRED}


@dataclass
class ModelRevision:
    """One version of a model, by whichever name it was asked for; without a version, the name leads nowhere."""

    repo: ModelRepo
    oid: str
    version: ModelVersion
    refusal: access.Denied | None = None
    publication: Publication | None = None
    asked: bool = False

    @property
    def commit(self) -> Commit:
        """Return the commit whose files it has."""
        return self.version.commit

    def require(self) -> None:
        """Raise access.Denied unless the files may be handed out to this person now."""
        if self.refusal is not None:
            raise self.refusal
        self.publication = handouts.require(actor=self.repo.user, version=self.version)
        self.asked = True

    def metered(self) -> dict[str, Any]:
        """Return what the meter asks of a download."""
        alias = self.publication.alias if self.publication else ""
        return {"model": self.repo.subject, "version": self.version, "alias": alias}

    def notices(self) -> list[str]:
        """Return for whom it is approved, until when and under which licence; or why it may not be had."""
        try:
            if not self.asked:
                self.require()
        except access.Denied as refusal:
            return [refusal.reason]
        return handouts.notices(self.version, self.publication)


class ModelRepo:
    """A registered model."""

    kind = MODELS

    def __init__(self, user: User, model: RegisteredModel):
        self.user, self.subject = user, model
        self.id = str(model)
        self.page = model.get_absolute_url()
        self.created_at = model.created_at

    @cached_property
    def _versions(self):
        return (
            ModelVersion.objects.known_to(self.user)
            .filter(model=self.subject)
            .select_related("model__team", "commit", "base_model", "use_case")
        )

    @cached_property
    def _aliases(self) -> dict[str, Publication]:
        """The newest publication of each alias that reviewers once agreed to and that was meant for this person."""
        rows = self.subject.publications.exclude(state__in=[State.PROPOSED, State.DECLINED])
        found: dict[str, Publication] = {}
        for row in rows.select_related("version__commit").order_by("-published_at", "-pk"):
            row.model = self.subject
            if row.alias not in found and (self._inside or registry.is_for(self.user, row)):
                found[row.alias] = row
        return found

    @cached_property
    def _inside(self) -> bool:
        return access.allows(self.user, Permission.MODEL_VIEW, self.subject)

    def revision(self, name: str) -> ModelRevision:
        """Return what a branch, tag or commit id names; raises errors.RevisionNotFound."""
        alias = registry.DEFAULT_ALIAS if name == MAIN else name
        tag = TAG.fullmatch(name)
        if OID.fullmatch(name):
            for one in (registry.DEFAULT_ALIAS, *self._aliases):
                if stands_for_nothing(self, one) == name:
                    return self._by_alias(one)
            version = self._versions.filter(commit__oid=name).first()
        elif tag:
            version = self._versions.filter(number=int(tag[1])).first()
        elif alias == registry.DEFAULT_ALIAS or alias in self._aliases:
            return self._by_alias(alias)
        else:
            version = None
        if version is None:
            raise unknown(name)
        return ModelRevision(self, version.commit.oid, version)

    def _by_alias(self, alias: str) -> ModelRevision:
        try:
            access.require_token(self.user, Permission.MODEL_USE, self.subject)
            publication = registry.servable(user=self.user, model=self.subject, alias=alias)
        except access.Denied as refusal:
            ended = self._aliases.get(alias)
            version = ended.version if ended is not None else self._versions.order_by("-number").first()
            if version is None:
                raise unknown(alias) from refusal
            version.model = self.subject
            return ModelRevision(self, stands_for_nothing(self, alias), version, refusal)
        return ModelRevision(self, publication.version.commit.oid, publication.version, None, publication)

    def refs(self) -> Refs:
        """Return `main` and the aliases as branches, the versions as tags."""
        branches = []
        for name in (MAIN, *sorted(set(self._aliases) - {registry.DEFAULT_ALIAS})):
            found = self._by_alias(registry.DEFAULT_ALIAS if name == MAIN else name)
            branches.append(Ref(name, found.oid))
        tags = self._versions.order_by("number").values_list("number", "commit__oid")
        return Refs(branches, [Ref(f"v{number}", oid) for number, oid in tags])

    def history(self, commit: Commit) -> list[Commit]:
        """Return the commits of the versions up to this one, newest first."""
        seen = self._versions.values("commit")
        rows = Commit.objects.filter(pk__in=seen, created_at__lte=commit.created_at)
        return list(rows.select_related("author").order_by("-created_at", "-pk")[:1000])

    def facts(self, commit: Commit | None = None) -> dict[str, Any]:
        """Return what clients show of it; of which base and with which library is known of a commit."""
        words = [self.subject.task, "gatehouse"]
        version = self._versions.filter(commit=commit).first() if commit is not None else None
        if version is None:
            return {"pipeline_tag": self.subject.task, "library_name": None, "tags": words, "cardData": {}}
        adapter = version.commit.files.filter(path="adapter_config.json").exists()
        base, licence = f"base/{version.base_model.name}", version.base_model.licence.lower()
        library, relation = ("peft", "adapter") if adapter else ("transformers", "finetune")
        pairs = (("base_model", base), (f"base_model:{relation}", base), ("license", licence))
        return {
            "pipeline_tag": self.subject.task,
            "library_name": library,
            "tags": tags_of(*pairs, words=[library, "safetensors", *words]),
            "cardData": {"license": licence, "base_model": base, "library_name": library},
        }


def find(user: User, team: str, name: str) -> ModelRepo:
    """Return the model if this person knows of it; raises errors.RepoNotFound."""
    model = RegisteredModel.objects.known_to(user).select_related("team").filter(team__slug=team, name=name).first()
    if model is None:
        raise no_repo(f"{team}/{name}")
    return ModelRepo(user, model)


def listed(user: User, *, search: str, author: str, after: str, limit: int) -> list[ModelRepo]:
    """Return the models that the person may see or use, by id, those behind `after`."""
    rows = RegisteredModel.objects.callable_by(user).select_related("team")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(title__icontains=search) | Q(team__slug__icontains=search))
    if author:
        rows = rows.filter(team__slug=author)
    if after:
        team, _slash, name = after.partition("/")
        rows = rows.filter(Q(team__slug__gt=team) | Q(team__slug=team, name__gt=name))
    return [ModelRepo(user, row) for row in rows.order_by("team__slug", "name")[:limit]]
