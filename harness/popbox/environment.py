"""What a child process gets of the environment: these names, and what popbox itself sets. Nothing else is passed on.

Compose prefers a variable of its environment to every file. One that is exported for a deployment, such as
COMPOSE_PROJECT_NAME or POPBOX_ACCOUNTS, would turn a throw-away host into that deployment. The only exception is a
command line that the operator gives for host remote: it runs as in their shell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

# Where programs and Python's modules are found, and where scratch files go. Not PYTHONWARNINGS, PYTHONINSPECT and the
# others: those change what Python does, here and not on a deployment. Not LANG and TZ: messages are read by popbox.
OF_PROGRAMS = (
    *("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
)
# How docker, its plugins and its credential helpers reach the engine and registries, and what a build takes: proxies,
# a CA bundle, the key that alone may sign the notqmail package. Not DOCKER_BUILDKIT, BUILDX_BUILDER: the build needs
# BuildKit, and its images in the engine.
OF_DOCKER = (
    *("PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_API_VERSION", "DOCKER_DEFAULT_PLATFORM"),
    *("DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_AUTH_CONFIG"),
    *("SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NOTQMAIL_KEY_FINGERPRINT"),
)
# How ssh reaches an old host, without a question: the user's configuration, keys, agent and tickets. Not SSH_ASKPASS.
OF_SSH = (
    *("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "USER", "LOGNAME", "XDG_RUNTIME_DIR"),
    *("SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "KRB5CCNAME", "KRB5_CONFIG"),
)
NOTHING: Mapping[str, str] = MappingProxyType({})
RUN = "POPBOX_RUN_ID"  # in every process that a host is made of: identifies those whose popbox was killed
FIXED = {"LC_ALL": "C.UTF-8"}


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What a front door takes from its environment for all children."""
    return {name: environ[name] for name in (*OF_PROGRAMS, *OF_DOCKER, *OF_SSH) if name in environ}


def of_programs(environ: Mapping[str, str], run: str = "") -> dict[str, str]:
    """For a program of ours on this machine; ``run`` is the id of the host that it belongs to."""
    return _chosen(environ, OF_PROGRAMS, run)


def of_docker(environ: Mapping[str, str], run: str = "") -> dict[str, str]:
    """For ``docker``."""
    return _chosen(environ, OF_DOCKER, run)


def of_ssh(environ: Mapping[str, str]) -> dict[str, str]:
    """For ``ssh``."""
    return _chosen(environ, OF_SSH, "")


def _chosen(environ: Mapping[str, str], names: tuple[str, ...], run: str) -> dict[str, str]:
    there = {name: environ[name] for name in names if name in environ}
    return {"PATH": os.defpath, **there, **FIXED, **({RUN: run} if run else {})}
