"""The pages of the governance package."""

from django.urls import path

from governance.views import access_reviews, account, administration, break_glass, ledger, reviews

app_name = "governance"

urlpatterns = [
    path("reviews/", reviews.reviews, name="reviews"),
    path("reviews/export.csv", reviews.export, name="reviews_export"),
    path("reviews/<int:pk>/", reviews.review, name="review"),
    path("reviews/<int:pk>/decide/", reviews.decide, name="decide"),
    path("reviews/<int:pk>/comments/", reviews.comment, name="comment"),
    path("reviews/<int:pk>/withdraw/", reviews.withdraw, name="withdraw"),
    path("ledger/", ledger.ledger, name="ledger"),
    path("ledger/export.csv", ledger.export, name="ledger_export"),
    path("ledger/archive/", ledger.archive, name="ledger_archive"),
    path("ledger/<int:pk>/", ledger.entry, name="ledger_entry"),
    path("ledger/<int:pk>/receipt/", ledger.receipt, name="ledger_receipt"),
    path("ledger/<int:pk>/erase/", ledger.erase, name="ledger_erase"),
    path("compliance/", ledger.compliance, name="compliance"),
    path("compliance/verification/", ledger.verification, name="verification"),
    path("compliance/verify/", ledger.verify, name="verify"),
    path("account/", account.account, name="account"),
    path("account/receipts/", ledger.receipts, name="receipts"),
    path("account/tokens/", account.api_tokens, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", account.revoke_token, name="token_revoke"),
    path("administration/", administration.people, name="people"),
    path("administration/people/export.csv", administration.export, name="people_export"),
    path("administration/people/bulk/", administration.bulk_people, name="people_bulk"),
    path("administration/people/new/", administration.person_new, name="person_new"),
    path("administration/people/<int:pk>/", administration.person, name="person"),
    path("administration/people/<int:pk>/roles/", administration.grant, name="person_grant"),
    path("administration/people/<int:pk>/deactivate/", administration.deactivate, name="person_deactivate"),
    path("administration/people/<int:pk>/reactivate/", administration.reactivate, name="person_reactivate"),
    path("administration/people/<int:pk>/anonymise/", administration.anonymise, name="person_anonymise"),
    path("administration/roles/<int:pk>/revoke/", administration.revoke, name="role_revoke"),
    path("access/<str:label>/<int:pk>/", access_reviews.who, name="access"),
    path("access/<str:label>/<int:pk>/review/", access_reviews.open_, name="access_review_open"),
    path("administration/access-reviews/", access_reviews.listing, name="access_reviews"),
    path("administration/access-reviews/<int:pk>/", access_reviews.detail, name="access_review"),
    path("administration/access-reviews/<int:pk>/items/<int:item>/", access_reviews.decide, name="access_decide"),
    path("administration/access-reviews/<int:pk>/close/", access_reviews.close, name="access_review_close"),
    path("administration/break-glass/", break_glass.listing, name="break_glasses"),
    path("administration/break-glass/open/", break_glass.open_, name="break_glass_open"),
    path("administration/break-glass/<int:pk>/", break_glass.detail, name="break_glass"),
    path("administration/break-glass/<int:pk>/end/", break_glass.end, name="break_glass_end"),
    path("administration/break-glass/<int:pk>/review/", break_glass.review, name="break_glass_review"),
]
