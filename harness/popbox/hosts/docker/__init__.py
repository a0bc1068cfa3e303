"""The mail host as the compose project that users deploy. The one place that imports docker and testcontainers."""

from popbox.hosts.docker.engine import LOCAL_BASE, consoles, no_qmail, projects, unavailable
from popbox.hosts.docker.host import DockerHost

__all__ = ["LOCAL_BASE", "DockerHost", "consoles", "no_qmail", "projects", "unavailable"]
