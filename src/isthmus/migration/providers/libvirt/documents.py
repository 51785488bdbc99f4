"""XML in and out: libvirt's documents are parsed and built as trees, never as text."""

from xml.etree import ElementTree as ET


def parse(text: str) -> ET.Element:
    """Return the root of a document that libvirt sent.

    A hostile hypervisor could send anything: expat loads no external entities, and since 2.4.1 it refuses
    entity expansion bombs.
    """
    return ET.fromstring(text)  # noqa: S314 - see above


def text_of(element: ET.Element) -> str:
    """Return the document as libvirt takes it."""
    return ET.tostring(element, encoding="unicode")


def required(element: ET.Element, path: str) -> ET.Element:
    """Return the child at `path`; ValueError if libvirt left out what its format always has."""
    found = element.find(path)
    if found is None:
        raise ValueError(f"libvirt's <{element.tag}> has no <{path}>")
    return found
