"""Organisations."""

from typing import Annotated

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.models import OrganizationRole
from chatd.accounts.organizations import (
    OrganizationChanges,
    create_organization,
    update_organization,
)
from chatd.accounts.selectors import get_organization_for, list_readable_organizations
from chatd.api.documenting import Operation
from chatd.api.parsing import MAX_PEOPLE_BODY_BYTES, decode_body
from chatd.api.people import organization_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented, one_of

OrganizationRoleName = Annotated[str, one_of(OrganizationRole)]


class UpdateOrganizationRequest(Struct, kw_only=True):
    """Body of `PATCH /organizations/{org}`; absent is "no change"."""

    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    icon: str | None = None
    default_org_member_roles: list[OrganizationRoleName] | None = None

    def checked(self) -> OrganizationChanges:
        return OrganizationChanges(
            name=self.name,
            display_name=self.display_name,
            description=self.description,
            icon=self.icon,
            default_org_member_roles=self.default_org_member_roles,
        )


class CreateOrganizationRequest(UpdateOrganizationRequest, kw_only=True):
    """Body of `POST /organizations`."""

    name: Annotated[str | None, documented(required=True)] = None


class OrganizationsViewSet(ResourceViewSet):
    """`/organizations`."""

    @Operation(
        "listOrganizations",
        "List the organisations one may read",
        answer=list[shapes.Organization],
    )
    def list(self, request: Request) -> Response:
        found = list_readable_organizations(self.actor(request).user)
        return Response([organization_body(organization) for organization in found])

    @Operation(
        "createOrganization",
        "Create an organisation, with oneself as a member",
        status=201,
        answer=shapes.Organization,
        body=CreateOrganizationRequest,
        refusals=[403],
    )
    def create(self, request: Request) -> Response:
        made = create_organization(
            self.actor(request),
            lambda: decode_body(
                request, CreateOrganizationRequest, cap=MAX_PEOPLE_BODY_BYTES
            ).checked(),
        )
        return Response(organization_body(made), status=201)


class OrganizationViewSet(ResourceViewSet):
    """`/organizations/{org}`: an id or a name."""

    @Operation("getOrganization", "Get an organisation", answer=shapes.Organization)
    def retrieve(self, request: Request, org: str) -> Response:
        return Response(organization_body(get_organization_for(self.actor(request).user, org)))

    @Operation(
        "updateOrganization",
        "Change an organisation",
        answer=shapes.Organization,
        body=UpdateOrganizationRequest,
        refusals=[403],
    )
    def partial_update(self, request: Request, org: str) -> Response:
        changed = update_organization(
            self.actor(request),
            org,
            lambda: decode_body(
                request, UpdateOrganizationRequest, cap=MAX_PEOPLE_BODY_BYTES
            ).checked(),
        )
        return Response(organization_body(changed))
