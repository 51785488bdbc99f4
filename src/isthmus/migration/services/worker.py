"""The worker: takes the steps of the clouds in its regions. It polls outwards only and has no database."""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from oslo_config.cfg import ConfigOpts
from oslo_log import log
from temporalio.client import Client
from temporalio.worker import Worker

from isthmus.control import identity as keystone
from isthmus.control import metrics, secrets, tracing
from isthmus.control.diagnostics import host_name
from isthmus.control.engine import EngineAddress
from isthmus.control.errors import InvalidInput
from isthmus.control.queues import host_queue, own_queue, receiving_queue, staging_queue, worker_queue
from isthmus.migration.disks.door import Door, Listen
from isthmus.migration.morphing.contract import WayIn
from isthmus.migration.providers.contract import HostNetwork
from isthmus.migration.providers.premises import Premises, parse_file_shares
from isthmus.migration.providers.registry import platforms, provider_class
from isthmus.migration.services.identity import Identity
from isthmus.migration.services.introduction import Introduction
from isthmus.migration.services.lifecycle import leave, run_until_stopped
from isthmus.migration.services.tenure import Post, Tenure
from isthmus.migration.workflows.activities import WorkerActivities
from isthmus.migration.workflows.site import Clouds, Site, WorkerSettings

SESSIONS = 128


def run(conf: ConfigOpts) -> None:
    """Serve until SIGTERM or SIGINT; running steps are handed back and taken up by the next worker."""
    log.setup(conf, "isthmus")

    # Kept, as each step needs one and Keystone's password check takes a good part of a second of its CPU. A session
    # logs in again by itself when its token has ended.
    session_of = functools.lru_cache(SESSIONS)(functools.partial(keystone.trust_session, conf))

    def resolve(trust_id: str | None, reference: str) -> Mapping[str, Any]:
        return secrets.fetch(session_of(trust_id), reference)

    def host_network(trust_id: str | None) -> HostNetwork | None:
        if not conf.worker.network_agent:
            return None
        return HostNetwork(
            Path(conf.worker.network_agent), lambda: keystone.project_of(session_of(trust_id)) if trust_id else None
        )

    allow_local = conf.worker.allow_local_hypervisors
    premises = premises_of(conf)
    opened = secrets.Remembered(resolve)
    clouds = Clouds(provider_class, opened, allow_local=allow_local, host_network=host_network, premises=premises)
    serve(conf, clouds, tuple(platforms()))
    leave()


def serve(conf: ConfigOpts, clouds: Clouds, known: Sequence[str]) -> None:
    """Serve clouds of the known platforms until told to stop."""
    tracing.start(conf, "worker")
    metrics.listen(conf)
    settings = settings_of(conf)
    settings.staging_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    slots, regions = conf.worker.activities, conf.worker.queues
    identity = Identity(Path(conf.state_dir), settings.staging_dir)
    # Of the worker's own queue: what tidies up after a disk step must not wait for the next one to end.
    own_slots = 2 * slots
    # As many copies may store their disks here as there are slots, and what one has stored must be removed meanwhile.
    storing_slots = 2 * slots
    # Of each region's queues: steps are taken from one, receivers from the other.
    with ThreadPoolExecutor(2 * slots * len(regions) + own_slots + storing_slots, thread_name_prefix="step") as pool:
        site = Site(clouds, settings, _now, door_of(conf))
        offered = WorkerActivities(site, pool, metrics.Work("steps", "Steps and questions"))
        introduction = Introduction(regions)
        tenure = Tenure(_post(conf, identity.id, known), site, lambda: offered.running)

        def workers(client: Client) -> list[Worker]:
            return [
                Worker(client, task_queue=host_queue(host_name()), activities=introduction.all),
                # The lease is always at work there.
                _worker(client, own_queue(identity.id), [*offered.placed, *tenure.all], own_slots + 1),
                _worker(client, staging_queue(identity.id), offered.storing, storing_slots),
                *(_worker(client, worker_queue([region]), offered.all, slots) for region in regions),
                *(_worker(client, receiving_queue([region]), offered.receiving, slots) for region in regions),
            ]

        run_until_stopped(EngineAddress.of(conf), workers, (introduction.run, tenure.run))


def _worker(client: Client, queue: str, activities: Sequence[Callable[..., Any]], slots: int) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        max_concurrent_activities=slots,
        # Fresh progress needs each second's heartbeat sent, not every eighth.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=1),
    )


def _post(conf: ConfigOpts, worker_id: str, known: Sequence[str]) -> Post:
    group = conf.worker
    return Post(
        id=worker_id,
        regions=tuple(group.queues),
        platforms=tuple(known),
        slots=group.activities,
        link_bandwidth=group.link_bandwidth,
    )


def settings_of(conf: ConfigOpts) -> WorkerSettings:
    """Return the `[worker]` options that steps need. Raises `InvalidInput` for those that do not go together."""
    group = conf.worker
    both = sorted(set(group.relays) & set(group.staged))
    if both:
        raise InvalidInput(
            f"region {both[0]} is in [worker] relays and in [worker] staged: the first passes its disks on, the second "
            "stores them; name it in one"
        )
    return WorkerSettings(
        staging_dir=_staging(conf),
        bandwidth_limit=group.bandwidth_limit,
        nbd_connections=group.nbd_connections,
        morphing_way_in=WayIn(group.morphing_way_in),
        # Whose machine and users are of one owner may as well have the fast way.
        allow_worker_kernel=group.allow_local_hypervisors or group.morphing_way_in == WayIn.WORKER_KERNEL,
        regions=tuple(group.queues),
        relays=dict(group.relays),
        staged=dict(group.staged),
    )


def premises_of(conf: ConfigOpts) -> Premises:
    """Return what endpoints may use of this machine, from `[worker]`. Raises `InvalidInput` for an option's value."""
    group = conf.worker
    return Premises(
        runtime=Path(group.runtime_dir or f"{conf.state_dir}/open"),
        staging=_staging(conf) / "images",
        image_directories=tuple(Path(each) for each in group.image_directories),
        file_shares=parse_file_shares(group.file_shares),
        nbd_certificates=Path(group.nbd_certificates) if group.nbd_certificates else None,
    )


def _staging(conf: ConfigOpts) -> Path:
    return Path(conf.worker.staging_dir or f"{conf.state_dir}/staging")


def door_of(conf: ConfigOpts) -> Door | None:
    """Return where this worker receives disks; None if nobody may connect to it. `InvalidInput` for a wrong address."""
    listen = conf.worker.channel_listen
    return Door(Listen.of(listen), conf.worker.channel_address) if listen else None


def _now() -> datetime:
    return datetime.now(UTC)
