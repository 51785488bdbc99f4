"""Neutron's REST API as far as the agent needs it, with one project's credential.

Every call has a time limit, `call_timeout` or what a deadline leaves of it (`neutron.time_left`), and goes through the
brake (`neutron.brake`). It is sent again only where that cannot do anything twice: reading, deleting, and writing what
is then so. A creation never is: one whose answer was lost may have been done (the repairs find such a port by its
tags), and keystoneauth does not tell a connection that was refused from one that broke.

A credential that may bind ports has the role `service`, and Neutron (29) shows such a caller every project's objects
and lets it use them. What keeps tenants apart is therefore here: of what Neutron answers, only what is the project's
own, shared with it, or external is seen; all else is not found, and nothing is done to what was not found.

`filters` are Neutron's query parameters, as `{"network_id": x, "tags": "a,b"}`; a list means any of its values.
`changes` and `body` are Neutron's own keys: this is the edge where its words are spoken.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.control.identity import catalog_url
from isthmus.networking.model import Network, Port, Subnet, SubnetPool
from isthmus.networking.neutron.brake import Brake
from isthmus.networking.neutron.faults import explain, silent
from isthmus.networking.neutron.parsing import Json, parse_network, parse_port, parse_subnet, parse_subnet_pool
from isthmus.networking.neutron.time_left import OutOfTime, seconds_left

Answer = TypeVar("Answer")

_LEAST = 0.1
"""Seconds that a call is given at least once it is sent, as a time limit of none would be an error."""

_NO_TAGS = "'tags'"
"""Stands in the refusal of a Neutron that cannot create a port with its tags: an unrecognized attribute."""


class Neutron:
    """One project's view of Neutron. Safe to be used by several threads."""

    def __init__(self, session: Adapter, call_timeout: float, brake: Brake, tries: int = 2) -> None:
        self._session = session
        self._timeout = call_timeout
        self._brake = brake
        self._tries = tries
        self._url: str | None = None
        self._project_id: str | None = None
        self._extensions: frozenset[str] | None = None
        # ML2's driver tag_ports_during_bulk_creation is not among the extensions that Neutron 29 lists: it shows itself
        # only by taking tags. A port made and tagged in one call cannot be left without, whoever dies in between.
        self._takes_tags = True

    # Plain calls: `kind` is the collection as in URLs ("networks"), the answers are Neutron's own JSON.

    def list(self, kind: str, filters: Mapping[str, Any] | None = None, fields: Sequence[str] = ()) -> list[Json]:
        """Return all objects of a kind that match, in Neutron's JSON."""
        query = dict(filters or {}) | ({"fields": list(fields)} if fields else {})
        answer = self._call("GET", f"/{kind}", f"list {_words(kind)}", again=True, params=query)
        found: list[Json] = answer[kind.rsplit("/", 1)[-1].replace("-", "_")]
        return [each for each in found if self._may_see(each)]

    def show(self, kind: str, id: str) -> Json:  # noqa: A002 - Neutron's word
        """Return one object; `NotFound`, also for what is another project's."""
        found = _only(self._call("GET", f"/{kind}/{quote(id)}", f"show {_one(kind)} {id}", again=True))
        if not self._may_see(found):
            raise NotFound(f"the project has no {_one(kind)} {id}; check the id, or share it with the project")
        return found

    def create(self, kind: str, body: Json, what: str | None = None) -> Json:
        """Create one object and return it."""
        said = what or f"create {_one(kind)} {body.get('name') or ''}".strip()
        return _only(self._call("POST", f"/{kind}", said, json={_singular(kind): dict(body)}))

    def create_all(self, kind: str, bodies: Sequence[Json]) -> None:
        """Create objects of a kind with one call: all or none."""
        collection = kind.replace("-", "_")
        self._call("POST", f"/{kind}", f"create {_words(kind)}", json={collection: [dict(each) for each in bodies]})

    def update(self, kind: str, id: str, changes: Json, revision: int | None = None) -> Json:  # noqa: A002
        """Change an object and return it; with a `revision`, `Changed` if it has another by now."""
        headers = {} if revision is None else {"If-Match": f"revision_number={revision}"}
        return _only(
            self._call(
                "PUT",
                f"/{kind}/{quote(id)}",
                f"update {_one(kind)} {id}",
                again=revision is None,
                json={_singular(kind): dict(changes)},
                headers=headers,
            )
        )

    def delete(self, kind: str, id: str) -> None:  # noqa: A002
        """Delete an object. Already gone: success."""
        try:
            self._call("DELETE", f"/{kind}/{quote(id)}", f"delete {_one(kind)} {id}", again=True)
        except NotFound:
            return

    def act(self, kind: str, id: str, action: str, body: Json) -> Json:  # noqa: A002
        """Call an action of an object (`trunks/ID/add_subports`) and return its answer; never sent again."""
        return self._call(
            "PUT", f"/{kind}/{quote(id)}/{action}", f"{_words(action)} of {_one(kind)} {id}", json=dict(body)
        )

    # Tags

    def replace_tags(self, kind: str, id: str, tags: Collection[str]) -> None:  # noqa: A002
        """Give an object exactly these tags."""
        what = f"tag {_one(kind)} {id}"
        self._call("PUT", f"/{kind}/{quote(id)}/tags", what, again=True, json={"tags": sorted(tags)})

    def add_tag(self, kind: str, id: str, tag: str) -> None:  # noqa: A002
        """Add a tag. There already: success."""
        self._call("PUT", f"/{kind}/{quote(id)}/tags/{quote(tag, safe='')}", f"tag {_one(kind)} {id}", again=True)

    def remove_tag(self, kind: str, id: str, tag: str) -> None:  # noqa: A002
        """Remove a tag. Object or tag gone: success."""
        try:
            self._call(
                "DELETE", f"/{kind}/{quote(id)}/tags/{quote(tag, safe='')}", f"untag {_one(kind)} {id}", again=True
            )
        except NotFound:
            return

    # Networks, subnets, pools

    def networks(self, **filters: Any) -> tuple[Network, ...]:
        """Return the networks that match, each with its subnets (two calls however many there are)."""
        found = self.list("networks", filters)
        if not found:
            return ()
        subnets = self._subnets_of([network["id"] for network in found])
        return tuple(
            parse_network(network, [each for each in subnets if each.network_id == network["id"]]) for network in found
        )

    def network(self, id: str) -> Network:  # noqa: A002
        """Return a network with its subnets; `NotFound`."""
        return parse_network(self.show("networks", id), self._subnets_of([id]))

    def find_network(self, name_or_id: str) -> Network:
        """Return the network of this id, else of this name; `NotFound`, `Conflict` if several have the name."""
        for key in ("id", "name"):
            found = self.networks(**{key: name_or_id})
            if len(found) == 1:
                return found[0]
            if found:
                raise Conflict(f"{len(found)} networks are called {name_or_id}; name one by its id")
        raise NotFound(
            f"the project sees no network {name_or_id}; check the name, or share the network with the project"
        )

    def create_network(self, **body: Any) -> Network:
        """Create a network; it has no subnets."""
        return parse_network(self._create_tagged("networks", body), ())

    def subnets(self, **filters: Any) -> tuple[Subnet, ...]:
        """Return the subnets that match, of networks that the project sees."""
        answer = self._call("GET", "/subnets", "list subnets", again=True, params=filters)
        found = tuple(parse_subnet(each) for each in answer["subnets"])
        foreign = {each.network_id for each in found if each.project_id != self.project_id}
        if not foreign:
            return found
        # A shared network's subnets are its owner's and do not say that they are shared.
        seen = {each["id"] for each in self.list("networks", {"id": sorted(foreign)})}
        return tuple(each for each in found if each.project_id == self.project_id or each.network_id in seen)

    def create_subnet(self, **body: Any) -> Subnet:
        """Create a subnet."""
        return parse_subnet(self._create_tagged("subnets", body))

    def subnet_pools(self, **filters: Any) -> tuple[SubnetPool, ...]:
        """Return the subnet pools that match."""
        return tuple(parse_subnet_pool(each) for each in self.list("subnetpools", filters))

    def create_subnet_pool(self, **body: Any) -> SubnetPool:
        """Create a subnet pool."""
        return parse_subnet_pool(self._create_tagged("subnetpools", body))

    # Ports

    def ports(self, **filters: Any) -> tuple[Port, ...]:
        """Return the ports that match; by address: `fixed_ips="ip_address=10.0.0.9"`."""
        return tuple(parse_port(each) for each in self.list("ports", filters))

    def port(self, id: str) -> Port:  # noqa: A002
        """Return a port; `NotFound`."""
        return parse_port(self.show("ports", id))

    def create_port(self, **body: Any) -> Port:
        """Create a port."""
        return parse_port(self._create_tagged("ports", body, f"create a port on network {body.get('network_id')}"))

    def create_ports(self, body: Json, count: int) -> tuple[Port, ...]:
        """Create `count` equal ports with one call: all or none. May take three times as long as other calls."""
        tags = sorted(body.get("tags") or ())
        what = f"create {count} ports on network {body.get('network_id')}"

        def make(each: Json) -> list[Json]:
            made: list[Json] = self._call("POST", "/ports", what, slower=3, json={"ports": [dict(each)] * count})[
                "ports"
            ]
            return made

        made = self._made_with_tags(lambda: make(body)) if tags else make(_without_tags(body))
        if made is None:
            made = make(_without_tags(body))
            for port in made:
                self.replace_tags("ports", port["id"], tags)
        return tuple(parse_port({**port, "tags": tags}) for port in made)

    def update_port(self, id: str, changes: Json, revision: int | None = None) -> Port:  # noqa: A002
        """Change a port and return it."""
        return parse_port(self.update("ports", id, changes, revision))

    # Looking up by name

    def find(self, kind: str, name_or_id: str) -> Json:
        """Return the one object of a kind that has this id or name; `NotFound`, `Conflict` if ambiguous."""
        for key in ("id", "name"):
            found = self.list(kind, {key: name_or_id})
            if len(found) == 1:
                return found[0]
            if found:
                raise Conflict(f"{len(found)} {_words(kind)} are called {name_or_id}; name one by its id")
        raise NotFound(f"the project sees no {_words(_singular(kind))} {name_or_id}; check the name and the project")

    def has_extension(self, alias: str) -> bool:
        """Return whether Neutron offers an API extension; asked once."""
        if self._extensions is None:
            self._extensions = frozenset(each["alias"] for each in self.list("extensions", fields=["alias"]))
        return alias in self._extensions

    @property
    def project_id(self) -> str:
        """The id of the project that this client acts for."""
        if self._project_id is None:
            try:
                self._project_id = str(self._session.get_project_id())
            except exceptions.ClientException as error:
                raise silent(error, "tell whose credential this is") from None
        return self._project_id

    def _may_see(self, found: Json) -> bool:
        owner = found.get("project_id") or found.get("tenant_id")
        return bool(not owner or owner == self.project_id or found.get("shared") or found.get("router:external"))

    def _subnets_of(self, network_ids: Sequence[str]) -> tuple[Subnet, ...]:
        answer = self._call("GET", "/subnets", "list subnets", again=True, params={"network_id": list(network_ids)})
        return tuple(parse_subnet(each) for each in answer["subnets"])

    def _create_tagged(self, kind: str, body: Json, what: str | None = None) -> Json:
        tags = sorted(body.get("tags") or ())
        if not tags:
            return {**self.create(kind, _without_tags(body), what), "tags": []}
        if kind == "ports":
            made = self._made_with_tags(lambda: self.create(kind, {**body, "tags": tags}, what))
            if made is not None:
                return {**made, "tags": tags}
        made = self.create(kind, _without_tags(body), what)
        self.replace_tags(kind, made["id"], tags)
        return {**made, "tags": tags}

    def _made_with_tags(self, make: Callable[[], Answer]) -> Answer | None:
        """Return what was made with its tags; None, and from then on, where Neutron cannot."""
        if not self._takes_tags:
            return None
        try:
            return make()
        except InvalidInput as error:
            if _NO_TAGS not in error.message:
                raise
            self._takes_tags = False
            return None

    def _call(
        self, method: str, path: str, what: str, *, again: bool = False, slower: int = 1, **arguments: Any
    ) -> Json:
        full = self._timeout * slower
        limit = seconds_left(full, what)
        end = time.monotonic() + limit

        def send() -> Any:
            url = self._base() + path
            left = max(end - time.monotonic(), _LEAST)
            try:
                return self._session.request(url, method, timeout=left, **arguments)
            except exceptions.ConnectTimeout:
                if limit >= full:
                    raise
                raise OutOfTime(f"Neutron was too slow to {what} in the time that was left; try again") from None

        tries = self._tries if again else 1
        return _answer_of(what, lambda: self._brake.run(what, send, tries=tries, limit=limit))

    def _base(self) -> str:
        if self._url is None:
            self._url = f"{catalog_url(self._session, 'network')}/v2.0"
        return self._url


def _answer_of(what: str, send: Callable[[], Any]) -> Json:
    try:
        answer = send()
        found: Json = answer.json() if answer.content else {}
    except exceptions.HttpError as error:
        raise explain(error, what) from None
    except (exceptions.ClientException, ValueError) as error:
        raise silent(error, what) from None
    return found


def _only(answer: Json) -> Json:
    """Return what is inside `{"network": {…}}`."""
    (found,) = answer.values()
    inside: Json = found
    return inside


def _without_tags(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "tags"}


def _singular(kind: str) -> str:
    name = kind.rsplit("/", 1)[-1].replace("-", "_")
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def _words(kind: str) -> str:
    return kind.rsplit("/", 1)[-1].replace("-", " ").replace("_", " ")


def _one(kind: str) -> str:
    return _words(_singular(kind))
