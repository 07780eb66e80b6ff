"""The addresses that the clients ask, at the root of the site; the pages keep theirs, which come first.

A revision is quoted by the client and arrives unquoted: of those with a slash in them only the clients' own are known.
"""

from django.urls import path, re_path

from portal.gateway.hub import files, logins, people, views
from portal.gateway.hub.repos import DATASETS, MODELS

app_name = "hub"

_TEAM = r"(?P<team>[\w.-]+)"
_NAME = r"(?P<name>[\w.-]+)"
_BASE = r"(?P<base>[\w.-]+)"
_REVISION = r"(?P<revision>refs/pr/\d+|refs/convert/[\w.-]+|[^/]+)"
_PATH = r"(?P<path>.+)"


def _of(kind: str, repo: str, suffix: str) -> list:
    """Return the routes of one kind of repository, whose name is matched by `repo`."""
    given = {"kind": kind}
    at = f"^api/{kind}/{repo}"
    place = "datasets/" if kind == DATASETS else ""
    return [
        re_path(rf"^{place}{repo}/resolve/{_REVISION}/{_PATH}$", files.Resolve.as_view(), given, f"file_of_{suffix}"),
        re_path(rf"{at}/revision/{_REVISION}$", views.Info.as_view(), given, f"revision_of_{suffix}"),
        re_path(rf"{at}/tree/{_REVISION}(?:/{_PATH})?/?$", views.Tree.as_view(), given, f"tree_of_{suffix}"),
        re_path(rf"{at}/paths-info/{_REVISION}$", views.PathsInfo.as_view(), given, f"paths_of_{suffix}"),
        re_path(rf"{at}/refs$", views.Refs.as_view(), given, f"refs_of_{suffix}"),
        re_path(rf"{at}/commits/{_REVISION}$", views.Commits.as_view(), given, f"commits_of_{suffix}"),
        re_path(rf"{at}/auth-check$", views.AuthCheck.as_view(), given, f"check_of_{suffix}"),
        re_path(
            rf"{at}/auth-check/write$", views.AuthCheck.as_view(), given | {"act": "write"}, f"write_check_of_{suffix}"
        ),
        re_path(rf"{at}$", views.Info.as_view(), given, suffix),
    ]


urlpatterns = [
    path("oauth/device", logins.device, name="device"),
    path("oauth/token", logins.token, name="token"),
    re_path(r"^api/whoami-v2$", people.WhoAmI.as_view(), name="whoami"),
    re_path(r"^api/models$", views.Listing.as_view(), {"kind": MODELS}, "models"),
    re_path(r"^api/datasets$", views.Listing.as_view(), {"kind": DATASETS}, "datasets"),
    *_of(DATASETS, f"{_TEAM}/{_NAME}", "dataset"),
    *_of(MODELS, f"{_TEAM}/{_NAME}", "model"),
    # A name without a team is a base model's: adapters that were made elsewhere call theirs so.
    *_of(MODELS, _BASE, "base_model"),
]
