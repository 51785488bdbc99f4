"""The cloud's errors as ours."""

import pytest
from keystoneauth1 import exceptions as auth
from openstack import exceptions as sdk

from isthmus.control.errors import (
    Conflict,
    InvalidInput,
    IsthmusError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StepFailed,
    Unavailable,
)
from isthmus.migration.providers.openstack.faults import translate, translated


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.BadRequestException("no such zone", http_status=400), InvalidInput),
        (sdk.ForbiddenException("not yours", http_status=403), NotAllowed),
        (sdk.ForbiddenException("Quota exceeded for instances", http_status=403), StepFailed),
        (sdk.NotFoundException("gone", http_status=404), NotFound),
        (sdk.ConflictException("in use", http_status=409), Conflict),
        (sdk.ConflictException("Quota exceeded for resources: ['port']", http_status=409), StepFailed),
        (sdk.HttpException("VolumeLimitExceeded", http_status=413), StepFailed),
        (sdk.HttpException("sorry", http_status=503), Unavailable),
        (sdk.DuplicateResource("More than one Server exists with the name 'web'."), InvalidInput),
        (sdk.SDKException("something else"), StepFailed),
        (auth.ConnectFailure("refused"), Unavailable),
        (auth.ConnectTimeout("slow"), Unavailable),
        (auth.Unauthorized("no"), NotAuthenticated),
        (auth.EndpointNotFound("block-storage"), InvalidInput),
    ],
)
def test_every_error_has_one_of_ours(error: Exception, kind: type[IsthmusError]) -> None:
    found = translate(error, "volume v1")
    assert type(found) is kind
    assert found.message.startswith("volume v1: ")


def test_a_long_answer_is_cut_and_refused_credentials_are_not_repeated() -> None:
    assert len(translate(sdk.HttpException("x" * 5000, http_status=500), "v").message) < 500
    assert "s3cret" not in translate(auth.Unauthorized("password s3cret"), "cloud").message


def test_our_own_errors_pass() -> None:
    with pytest.raises(Conflict, match="mine"), translated("cloud"):
        raise Conflict("mine")
