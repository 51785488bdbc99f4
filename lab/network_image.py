"""The image of the playground's containers: busybox, ping and iperf3, made here, as no registry is needed or asked."""

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

NAME = "localhost/isthmus/lab:1"
PAUSE_SECONDS = 36000
_APPLETS = (
    "sh",
    "sleep",
    "ping",
    "ip",
    "nc",
    "cat",
    "ls",
    "wget",
    "httpd",
    "hostname",
    "nslookup",
    "true",
    "route",
    "id",
)
_PROGRAMS = ("/usr/bin/iperf3",)
_MEDIA = "application/vnd.oci.image."


def root_archive() -> bytes:
    """Return the image's files as a tar archive."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for directory in ("bin", "proc", "sys", "dev", "etc", "tmp", "usr", "usr/bin"):
            archive.addfile(_entry(directory, tarfile.DIRTYPE))
        archive.add("/bin/busybox", "bin/busybox")
        for applet in _APPLETS:
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE)
            link.linkname = "busybox"
            archive.addfile(link)
        for file in sorted({file for program in _PROGRAMS for file in (program, *_libraries(program))}):
            path = Path(file).resolve()
            archive.add(path, file.lstrip("/"))
    return output.getvalue()


def oci_archive(name: str = NAME) -> bytes:
    """Return the image as a tar archive of an OCI layout, as `ctr images import` and `podman load` take it.

    Its command sleeps: it is fit as the sandbox ("pause") image of a CRI, too.
    """
    blobs: dict[str, bytes] = {}

    def put(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": _MEDIA + kind, "digest": f"sha256:{digest}", "size": len(content)}

    layer = put(root_archive(), "layer.v1.tar")
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sleep", str(PAUSE_SECONDS)], "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MEDIA + "manifest.v1+json",
        "config": put(json.dumps(configuration).encode(), "config.v1+json"),
        "layers": [layer],
    }
    described = put(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [described]}).encode(),
        **{f"blobs/sha256/{digest}": content for digest, content in blobs.items()},
    }
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path, content in files.items():
            entry = _entry(path, tarfile.REGTYPE)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o755
    return entry


def _libraries(program: str) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", said)
