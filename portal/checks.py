"""System checks: what an operator should know before anybody else finds out."""

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

from governance import anchors


@register(Tags.security)
def loopback_without_debug(app_configs, **_):
    """Warn where the site is reachable from other machines without HTTPS."""
    if settings.LOOPBACK or settings.HTTPS or settings.DEBUG:
        return []
    return [
        Warning(
            f"The site listens on {settings.HOST} and cookies are not marked as secure.",
            hint="Put it behind a server that speaks TLS and set HTTPS=true, BEHIND_PROXY=true and BASE_URL.",
            id="portal.W001",
        )
    ]


@register(Tags.security)
def debug_on_the_network(app_configs, **_):
    """Refuse DEBUG on an address that others can reach."""
    if settings.DEBUG and not settings.LOOPBACK:
        return [
            Error(
                f"DEBUG is on while the site listens on {settings.HOST}.",
                hint="DEBUG shows source code and opens the demo's sign-in links: set HOST=127.0.0.1 or DEBUG=false.",
                id="portal.E001",
            )
        ]
    return []


@register()
def fencing_is_on(app_configs, **_):
    """Refuse to run with fencing off outside the chaos tests."""
    if not settings.JOB_FENCING and not settings.CHAOS:
        return [Error("JOB_FENCING is off.", hint="Only the chaos tests turn it off; remove it.", id="portal.E002")]
    return []


@register()
def anchors_can_be_used(app_configs, **_):
    """Say what is wrong with LEDGER_ANCHORS before the sequencer finds out."""
    hint = "See “The ledger” in docs/operator-guide.md; each is kind:place, separated by commas."
    found: list[Error | Warning] = []
    for named in settings.LEDGER_ANCHORS:
        try:
            target = anchors.targets([named])[0]
        except anchors.BadSetting as error:
            found.append(Error(str(error), hint=hint, id="portal.E003"))
            continue
        if problem := target.wrong:
            # A warning: the sequencer may run on another machine, or as a user who sees more.
            found.append(
                Warning(
                    f"No checkpoint can be sent to {named.partition(':')[0]}: {problem}", hint=hint, id="portal.W002"
                )
            )
    if settings.LEDGER_ANCHOR_SECONDS < 1:
        found.append(
            Error(
                f"LEDGER_ANCHOR_SECONDS is {settings.LEDGER_ANCHOR_SECONDS}.",
                hint="Give the seconds between two checkpoints at each place, such as 3600.",
                id="portal.E004",
            )
        )
    return found
