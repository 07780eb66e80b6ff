"""/v1/files: versions of governed datasets, as files to tune on. A file's id is `dataset:team/name@number`.

An upload is a new version of a dataset that exists, named in the form field `dataset`; it is imported, profiled and
checked like every other, and nothing is tuned on it before it is cleared for a use case. There are no other files.
"""

from __future__ import annotations

import re

from django.http import JsonResponse

from governance.models import User
from governance.services import access
from portal.gateway.openai import callers
from portal.gateway.openai.endpoints import endpoint
from portal.gateway.openai.errors import Invalid, NotThere
from projects.models import Dataset, DatasetVersion
from projects.services import datasets, fields

_ID = re.compile(r"dataset:(?P<team>[\w-]+)/(?P<name>[\w.-]+)@(?P<number>\d{1,9})")
_STATUS = {
    "received": "uploaded", "importing": "uploaded", "profiled": "processed", "refused": "error", "withdrawn": "error",
}  # fmt: skip
LIMIT = 100


def find(user: User, file_id: str, *, param: str = "file_id") -> DatasetVersion:
    """Return the version that an id names among those that the caller may see; raises NotThere."""
    match = _ID.fullmatch(file_id)
    rows = DatasetVersion.objects.visible_to(user).select_related("dataset__team", "commit")
    found = (
        rows.filter(dataset__team__slug=match["team"], dataset__name=match["name"], number=int(match["number"])).first()
        if match
        else None
    )
    if found is None:
        raise NotThere(
            f"There is no file “{file_id[:200]}” for you. Files are versions of datasets: dataset:team/name@number.",
            param=param,
            code="no_such_file",
        )
    return found


def id_of(version: DatasetVersion) -> str:
    """Return the id of a version."""
    return f"dataset:{version.dataset}@{version.number}"


def describe(version: DatasetVersion) -> dict:
    """Return a version in the shape of a file."""
    return {
        "id": id_of(version),
        "object": "file",
        "bytes": int(version.source.get("size") or 0),
        "created_at": int(version.created_at.timestamp()),
        "expires_at": None,
        "filename": str(version.source.get("filename") or ""),
        "purpose": "fine-tune",
        "status": _STATUS[version.state],
        "status_details": f"{version.refusal} {version.advice}".strip() or None,
        "governance": {
            "state": version.state,
            "commit": version.commit.oid if version.commit else None,
            "waits_for_columns": version.state == "received" and version.mapped_at is None,
            "url": version.get_absolute_url(),
        },
    }


@endpoint("GET", "HEAD", "POST")
def collection(request):
    """List the files, or take one in."""
    user = callers.admit(request, calling=False)
    if request.method == "POST":
        return JsonResponse(describe(_receive(request, user)))
    purpose = request.GET.get("purpose", "fine-tune")
    rows = DatasetVersion.objects.visible_to(user).select_related("dataset__team", "commit").defer("profile", "errors")
    rows = rows if purpose == "fine-tune" else rows.none()
    rows = rows.order_by("pk" if request.GET.get("order") == "asc" else "-pk")
    if after := request.GET.get("after"):
        last = find(user, after, param="after").pk
        rows = rows.filter(pk__gt=last) if request.GET.get("order") == "asc" else rows.filter(pk__lt=last)
    limit = limit_of(request, LIMIT)
    page = list(rows[: limit + 1])
    data = [describe(row) for row in page[:limit]]
    return JsonResponse({"object": "list", "data": data, "has_more": len(page) > limit, **ends(data)})


def limit_of(request, most: int) -> int:
    """Return how many are asked for, at most `most`; raises Invalid."""
    given = request.GET.get("limit", "20")
    if not given.isdigit() or int(given) < 1:
        raise Invalid("limit must be a whole number from 1.", param="limit")
    return min(int(given), most)


def ends(data: list[dict]) -> dict:
    """Return the ids between which a page lies, as newer clients read them."""
    return {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}


def _receive(request, user: User) -> DatasetVersion:
    if request.POST.get("purpose", "fine-tune") != "fine-tune":
        raise Invalid("The purpose must be “fine-tune”.", param="purpose")
    file = request.FILES.get("file")
    if file is None:
        raise Invalid("Send the file as the form field “file”.", param="file")
    team, _, name = request.POST.get("dataset", "").partition("/")
    dataset = Dataset.objects.visible_to(user).filter(team__slug=team, name=name).select_related("team").first()
    if dataset is None:
        raise Invalid(
            "Say which dataset this is a version of, as “team/name”; with OpenAI's client: "
            'extra_body={"dataset": "team/name"}. A dataset is registered under Datasets, once.',
            param="dataset",
        )
    try:
        version = datasets.receive(actor=user, dataset=dataset, file=file, options={})
        guess = version.source["guess"]
        named = {f"{role}_column": guess[role] for role in ("text", "label", "split") if guess.get(role)}
        named |= {key: guess[key] for key in ("layout", "columns") if guess.get(key)}
        version = datasets.map_columns(actor=user, version=version, **named)
    except fields.Invalid as error:
        raise Invalid(str(error), param="file", code="invalid_file_format") from error
    return DatasetVersion.objects.select_related("dataset__team", "commit").get(pk=version.pk)


@endpoint("GET", "HEAD", "DELETE")
def one(request, file_id):
    """Show a file. It is not deleted here: its steward withdraws a version, with a reason."""
    version = find(callers.admit(request, calling=False), file_id)
    if request.method == "DELETE":
        raise access.Denied(
            "A version of a dataset is not deleted: its steward withdraws it on its page, and says why.",
            code="not_deleted",
            subject=version,
        )
    return JsonResponse(describe(version))
