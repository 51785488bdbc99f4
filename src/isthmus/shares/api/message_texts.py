"""What the codes of user messages mean, in words. The words are those that Manila's clients know."""

from collections.abc import Mapping

from isthmus.shares.messages import Action, Detail

ACTIONS: Mapping[str, str] = {
    Action.ALLOCATE_HOST: "allocate host",
    Action.CREATE: "create",
    Action.DELETE_ACCESS_RULES: "delete access rules",
    Action.PROMOTE: "promote",
    Action.UPDATE: "update",
    Action.REVERT_TO_SNAPSHOT: "revert to snapshot",
    Action.DELETE: "delete",
    Action.EXTEND: "extend",
    Action.SHRINK: "shrink",
    Action.UPDATE_ACCESS_RULES: "update access rules",
    Action.ADD_UPDATE_SECURITY_SERVICE: "add or update security service",
    Action.TRANSFER_ACCEPT: "transfer accept",
    Action.UPDATE_METADATA: "update_metadata",
    Action.RESTORE_BACKUP: "restore share backup",
}
UNKNOWN_ACTION = "unknown action"

_FILTERED = "No storage could be allocated for this share request, %s filter didn't succeed."

DETAILS: Mapping[str, str] = {
    Detail.UNKNOWN_ERROR: "An unknown error occurred.",
    Detail.NO_VALID_HOST: (
        "No storage could be allocated for this share request. "
        "Trying again with a different size or share type may succeed."
    ),
    Detail.UNEXPECTED_NETWORK: "Driver does not expect share-network to be provided with current configuration.",
    Detail.NO_SHARE_SERVER: (
        "Could not find an existing share server or allocate one on the share network provided. You may use a "
        "different share network, or verify the network details in the share network and retry your request. If this "
        "doesn't work, contact your administrator to troubleshoot issues with your network."
    ),
    Detail.FILTER_AVAILABILITY: _FILTERED % "AvailabilityZone",
    Detail.FILTER_CAPABILITIES: _FILTERED % "Capabilities",
    Detail.FILTER_CAPACITY: _FILTERED % "Capacity",
    Detail.FILTER_DRIVER: _FILTERED % "Driver",
    Detail.FILTER_IGNORE: _FILTERED % "IgnoreAttemptedHosts",
    Detail.FILTER_JSON: _FILTERED % "Json",
    Detail.FILTER_RETRY: _FILTERED % "Retry",
    Detail.FILTER_REPLICATION: _FILTERED % "ShareReplication",
    Detail.DRIVER_FAILED_EXTEND: (
        "Share Driver failed to extend share, The share status has been set to extending_error. This action cannot be "
        "re-attempted until the status has been rectified. Contact your administrator to determine the cause of this "
        "failure."
    ),
    Detail.FILTER_CREATE_FROM_SNAPSHOT: _FILTERED % "CreateFromSnapshot",
    Detail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT: (
        "Share Driver has failed to create the share from snapshot. This operation can be re-attempted by creating a "
        "new share. Contact your administrator to determine the cause of this failure."
    ),
    Detail.DRIVER_REFUSED_SHRINK: (
        "Share Driver refused to shrink the share. The size to be shrunk is smaller than the current used space. The "
        "share status has been set to available. Please select a size greater than the current used space."
    ),
    Detail.DRIVER_FAILED_SHRINK: "Share Driver does not support shrinking shares. Shrinking share operation failed.",
    Detail.FORBIDDEN_CLIENT_ACCESS: (
        "Failed to grant access to client. The client ID used may be forbidden. You may try again with a different "
        "client identifier."
    ),
    Detail.UNSUPPORTED_CLIENT_ACCESS: (
        "Failed to grant access to client. The access level or type may be unsupported. You may try again with a "
        "different access level or access type."
    ),
    Detail.UNSUPPORTED_ADD_UPDATE_SECURITY_SERVICE: (
        "Share driver has failed to setup one or more security services that are associated with the used share "
        "network. The security service may be unsupported or the provided parameters are invalid. You may try again "
        "with a different set of configurations."
    ),
    Detail.SECURITY_SERVICE_FAILED_AUTH: (
        "Share Driver failed to create share due to a security service authentication issue. The security service "
        "user has either insufficient privileges or wrong credentials. Please check your user, password, ou and domain."
    ),
    Detail.NO_DEFAULT_SHARE_TYPE: (
        "No default share type has been made available. You must specify a share type for creating shares."
    ),
    Detail.MISSING_SECURITY_SERVICE: (
        "Share Driver failed to create share because a security service has not been added to the share network used. "
        "Please add a security service to the share network."
    ),
    Detail.DRIVER_FAILED_TRANSFER_ACCEPT: "Share transfer cannot be accepted without clearing access rules.",
    Detail.SHARE_NETWORK_PORT_QUOTA_LIMIT_EXCEEDED: (
        "Failed to create a new network port on the share network subnet. The limit of the number of ports has been "
        "exceeded. You may increase the network port quotas or free up some ports and retry. If this doesn't work, "
        "contact your administrator to troubleshoot issues with your network."
    ),
    Detail.SHARE_BACKEND_NOT_READY_YET: (
        "No storage could be allocated for this share request. Share back end services are not ready yet. Contact "
        "your administrator in case retrying does not help."
    ),
    Detail.UPDATE_METADATA_SUCCESS: "Metadata passed to share driver successfully performed required operation.",
    Detail.UPDATE_METADATA_FAILURE: "Metadata passed to share driver failed to perform required operation.",
    Detail.UPDATE_METADATA_NOT_DELETED: (
        "Metadata delete operation includes driver updatable metadata, and it is not passed to share driver to "
        "perform required operation."
    ),
    Detail.TARGETED_RESTORE_UNSUPPORTED: (
        "Cannot restore a given backup to a target share, not supported by share driver."
    ),
    Detail.NEUTRON_SUBNET_FULL: (
        "Share Driver failed to create share server on share network due no more free IP addresses in the neutron "
        "subnet.You may free some IP addresses in the subnet or create a new subnet/share network. If this doesn't "
        "work, contact your administrator to troubleshoot issues with your network."
    ),
    Detail.UNSUPPORTED_REPLICA_CREATE_CONFIG: (
        "Share driver has failed to create share replica because of unsupported configuration options. Please try "
        "again with a different configuration."
    ),
    Detail.DRIVER_FAILED_REVERTING_TO_SNAPSHOT: (
        "Share driver failed to revert the share to the specified snapshot. Contact your administrator if the problem "
        "persists."
    ),
}


def user_message(action_id: str, detail_id: str | None, own: str | None) -> str:
    """Return a message's sentence: what was done, what went wrong, and (if there is one) our own word on why."""
    action = ACTIONS.get(action_id, UNKNOWN_ACTION)
    detail = DETAILS.get(detail_id or "", DETAILS[Detail.UNKNOWN_ERROR])
    return f"{action}: {detail} {own}" if own else f"{action}: {detail}"
