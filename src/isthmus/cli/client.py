"""A small typed client of the migration service's REST API.

Every failure comes out as one of `isthmus.control.errors`, chosen by the answer's status, with the server's message.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from isthmus.cli.answers import Deployment, Endpoint, Execution, Transfer
from isthmus.control import errors

JSON = dict[str, Any]

_BY_STATUS = {
    error.status: error
    for error in (
        errors.InvalidInput,
        errors.InputTooLarge,
        errors.NotAuthenticated,
        errors.NotAllowed,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.Conflict,
        errors.UnsupportedMediaType,
        errors.NotSupported,
        errors.Unavailable,
    )
}


class RestApi:
    """One service, asked through a keystoneauth adapter. `service` is its type in Keystone's catalogue."""

    service: ClassVar[str]

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def _mapping(self, method: str, url: str, key: str, body: JSON | None = None) -> JSON:
        answer: JSON = self._send(method, url, body)[key]
        return answer

    def _send(self, method: str, url: str, body: JSON | None = None) -> Any:
        answer = self._answer(method, url, body)
        return answer.json() if answer.content else {}

    def _text(self, method: str, url: str) -> str:
        return str(self._answer(method, url, None).text)

    def _answer(self, method: str, url: str, body: JSON | None) -> Any:
        from keystoneauth1 import exceptions  # noqa: PLC0415 - help must not wait for it

        try:
            # log=False: at debug level the body would be logged, and it may hold connection details.
            answer = self._adapter.request(url, method, json=body, raise_exc=False, log=False)
        except (exceptions.EndpointNotFound, exceptions.EmptyCatalog) as error:
            raise errors.Unavailable(
                f"Keystone's catalogue names no '{self.service}' service for this project and region: "
                "register it, or give its address with --os-endpoint"
            ) from error
        except exceptions.Unauthorized as error:
            raise errors.NotAuthenticated(
                "Keystone refused the user's name or password: check the OS_* variables or clouds.yaml"
            ) from error
        except exceptions.ClientException as error:
            raise errors.Unavailable(f"no answer: {error}; see that it runs (`isthmus status`)") from error
        if answer.status_code >= 400:
            raise fault(method, url, answer.status_code, answer.text)
        return answer


class MigrationApi(RestApi):
    """The migration API of one project. Relative URLs of the adapter begin below the project."""

    service = "migration"

    # Clouds

    def providers(self) -> JSON:
        """Return the providers by name: `{"libvirt": {"types": [4, 8, …]}}`."""
        return self._mapping("GET", "/providers", "providers")

    def provider_schemas(self, provider: str, kind: int) -> JSON:
        """Return the JSON schemas of one provider for one capability bit (16 connection, 4 destination, 8 source)."""
        return self._mapping("GET", f"/providers/{quote(provider, safe='')}/schemas/{kind}", "schemas")

    def endpoints(self) -> list[Endpoint]:
        """Return all endpoints of the project."""
        return [Endpoint.model_validate(item) for item in self._list("/endpoints", "endpoints")]

    def endpoint(self, name_or_id: str) -> Endpoint:
        """Return one endpoint by id or name; InvalidInput lists the ids if several have that name."""
        found = self.endpoints()
        by_id = [endpoint for endpoint in found if endpoint.id == name_or_id]
        by_name = by_id or [endpoint for endpoint in found if endpoint.name == name_or_id]
        if not by_name:
            raise errors.NotFound(f"there is no endpoint '{name_or_id}': `isthmus endpoint list` shows all")
        if len(by_name) > 1:
            ids = ", ".join(endpoint.id for endpoint in by_name)
            raise errors.InvalidInput(f"{len(by_name)} endpoints are named '{name_or_id}': give one of the ids {ids}")
        return by_name[0]

    def create_endpoint(self, body: JSON) -> Endpoint:
        """Register a cloud. `body` is the content of `{"endpoint": …}`."""
        return Endpoint.model_validate(self._mapping("POST", "/endpoints", "endpoint", {"endpoint": body}))

    def update_endpoint(self, endpoint_id: str, body: JSON) -> Endpoint:
        """Change what `body` names."""
        url = f"/endpoints/{endpoint_id}"
        return Endpoint.model_validate(self._mapping("PUT", url, "endpoint", {"endpoint": body}))

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Forget a cloud."""
        self._send("DELETE", f"/endpoints/{endpoint_id}")

    def validate_endpoint(self, endpoint_id: str) -> tuple[bool, str]:
        """Return whether the cloud answers and lets us in, and why not."""
        key = "validate-connection"
        answer = self._mapping("POST", f"/endpoints/{endpoint_id}/actions", key, {key: None})
        return bool(answer.get("valid")), str(answer.get("message") or "")

    def ask(self, endpoint_id: str, what: str, environment: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """Return the answer to one of the questions about a cloud: instances, networks, storage, source-options,
        destination-options.
        """
        if environment:
            query["env"] = encode(environment)
        given = {name: value for name, value in query.items() if value is not None}
        suffix = f"?{urlencode(given)}" if given else ""
        return self._send("GET", f"/endpoints/{endpoint_id}/{what}{suffix}")[what.replace("-", "_")]

    def instance(self, endpoint_id: str, instance: str) -> JSON:
        """Return one machine, whole."""
        name = base64.urlsafe_b64encode(instance.encode()).decode()
        return self._mapping("GET", f"/endpoints/{endpoint_id}/instances/{name}", "instance")

    # Transfers

    def transfers(self) -> list[Transfer]:
        """Return all transfers of the project."""
        return [Transfer.model_validate(item) for item in self._list("/transfers/detail", "transfers")]

    def transfer(self, transfer_id: str) -> Transfer:
        """Return one transfer."""
        return Transfer.model_validate(self._mapping("GET", f"/transfers/{transfer_id}", "transfer"))

    def create_transfer(self, body: JSON) -> Transfer:
        """Make a transfer; nothing is copied yet."""
        return Transfer.model_validate(self._mapping("POST", "/transfers", "transfer", {"transfer": body}))

    def delete_transfer(self, transfer_id: str) -> None:
        """Delete a transfer that has no work under way."""
        self._send("DELETE", f"/transfers/{transfer_id}")

    def delete_disks(self, transfer_id: str) -> Execution:
        """Begin to delete the replica's disks."""
        answer = self._mapping("POST", f"/transfers/{transfer_id}/actions", "execution", {"delete-disks": None})
        return Execution.model_validate(answer)

    def verify(self, transfer_id: str, instances: Sequence[str] = ()) -> Execution:
        """Begin to compare the replicas with their sources."""
        body = {"verify": {"instances": list(instances) or None}}
        return Execution.model_validate(self._mapping("POST", f"/transfers/{transfer_id}/actions", "execution", body))

    def failback(self, transfer_id: str, body: JSON) -> Transfer:
        """Make the transfer that brings this one's machines home."""
        answer = self._mapping("POST", f"/transfers/{transfer_id}/actions", "transfer", {"failback": body})
        return Transfer.model_validate(answer)

    # Executions

    def executions(self, transfer_id: str) -> list[Execution]:
        """Return a transfer's executions with their steps, oldest first."""
        items = self._list(f"/transfers/{transfer_id}/executions/detail", "executions")
        return sorted((Execution.model_validate(item) for item in items), key=lambda execution: execution.number)

    def execution(self, transfer_id: str, execution_id: str) -> Execution:
        """Return one execution with its steps."""
        url = f"/transfers/{transfer_id}/executions/{execution_id}"
        return Execution.model_validate(self._mapping("GET", url, "execution"))

    def execute(
        self,
        transfer_id: str,
        *,
        shutdown_instances: bool = False,
        auto_deploy: bool = False,
        instances: Sequence[str] = (),
        keep_partial: bool = False,
        hold_on_error: bool = False,
    ) -> Execution:
        """Begin to copy what has changed since the last time, of all instances or those named."""
        wanted: JSON = {"shutdown_instances": shutdown_instances, "auto_deploy": auto_deploy}
        if instances:
            wanted["instances"] = list(instances)
        if keep_partial:
            wanted["keep_partial"] = True
        if hold_on_error:
            wanted["hold_on_error"] = True
        body = {"execution": wanted}
        answer = self._mapping("POST", f"/transfers/{transfer_id}/executions", "execution", body)
        return Execution.model_validate(answer)

    def cancel_execution(self, transfer_id: str, execution_id: str, *, force: bool, keep: bool = False) -> None:
        """Ask an execution to stop."""
        url = f"/transfers/{transfer_id}/executions/{execution_id}/actions"
        self._send("POST", url, {"cancel": {"force": force, "keep": keep}})

    def retry_execution(self, transfer_id: str, execution_id: str, instances: Sequence[str] = ()) -> Execution:
        """Begin an execution of the instances that failed in this one, or of those named."""
        url = f"/transfers/{transfer_id}/executions/{execution_id}/actions"
        answer = self._mapping("POST", url, "execution", {"retry": {"instances": list(instances) or None}})
        return Execution.model_validate(answer)

    def delete_execution(self, transfer_id: str, execution_id: str) -> None:
        """Delete the records of an ended execution."""
        self._send("DELETE", f"/transfers/{transfer_id}/executions/{execution_id}")

    # Deployments

    def deployments(self) -> list[Deployment]:
        """Return all deployments of the project."""
        return [Deployment.model_validate(item) for item in self._list("/deployments/detail", "deployments")]

    def deployment(self, deployment_id: str) -> Deployment:
        """Return one deployment with its steps."""
        return Deployment.model_validate(self._mapping("GET", f"/deployments/{deployment_id}", "deployment"))

    def deploy(self, body: JSON) -> Deployment:
        """Begin to make machines of a transfer's replicas. `body` is the content of `{"deployment": …}`."""
        return Deployment.model_validate(self._mapping("POST", "/deployments", "deployment", {"deployment": body}))

    def cancel_deployment(self, deployment_id: str, *, force: bool) -> None:
        """Ask a deployment to stop."""
        self._send("POST", f"/deployments/{deployment_id}/actions", {"cancel": {"force": force}})

    def retry_deployment(self, deployment_id: str, instances: Sequence[str] = ()) -> Deployment:
        """Begin a deployment of the instances that failed in this one, or of those named."""
        body = {"retry": {"instances": list(instances) or None}}
        answer = self._mapping("POST", f"/deployments/{deployment_id}/actions", "deployment", body)
        return Deployment.model_validate(answer)

    def delete_deployment(self, deployment_id: str) -> None:
        """Delete the records of an ended deployment."""
        self._send("DELETE", f"/deployments/{deployment_id}")

    # Schedules, regions, services, pools: shown as they come

    def objects(self, path: str, key: str) -> list[JSON]:
        """Return all objects of a collection, whose key in the answer is `key`."""
        return self._list(path, key)

    def object(self, method: str, path: str, key: str, body: JSON | None = None) -> JSON:
        """Return the object that a call answers with."""
        return self._mapping(method, path, key, body)

    def get(self, path: str) -> JSON:
        """Return an answer as it is."""
        answer: JSON = self._send("GET", path)
        return answer

    def remove(self, path: str) -> None:
        """Delete one object."""
        self._send("DELETE", path)

    def update_transfer(self, transfer_id: str, body: JSON) -> Execution:
        """Begin to change what `body` names, and return the execution that tries it."""
        answer = self._mapping("PUT", f"/transfers/{transfer_id}", "execution", {"transfer": body})
        return Execution.model_validate(answer)

    def inventory(self, endpoint_id: str) -> str:
        """Return all machines of a cloud as CSV."""
        return self._text("GET", f"/endpoints/{endpoint_id}/inventory")

    # Pages

    def _list(self, url: str, key: str) -> list[JSON]:
        """Return all pages of a listing."""
        found: list[JSON] = []
        while True:
            suffix = f"?{urlencode({'marker': found[-1]['id']})}" if found else ""
            page: list[JSON] = self._send("GET", url + suffix)[key]
            # A page that brings nothing new is the end, also of a server that knows no marker.
            known = {item["id"] for item in found}
            fresh = [item for item in page if item["id"] not in known]
            if not fresh:
                return found
            found += fresh


def fault(method: str, url: str, status: int, text: str) -> errors.IsthmusError:
    """Return the error that a fault body tells: `{"itemNotFound": {"code": 404, "message": …}}`, or Keystone's."""
    try:
        content = json.loads(text)
        inner = next(iter(content.values()))
        message = str(inner["message"])
    except (ValueError, AttributeError, StopIteration, KeyError, TypeError):
        message = f"the API answered {method} {url.partition('?')[0]} with status {status}"
        if status == 401:
            message += ": the token was refused; log in again (OS_* variables or clouds.yaml)"
    return _BY_STATUS.get(status, errors.IsthmusError)(message)


def encode(environment: Mapping[str, Any]) -> str:
    """Return the value of the `env` query parameter."""
    return base64.urlsafe_b64encode(json.dumps(environment).encode()).decode()
