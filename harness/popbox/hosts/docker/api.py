"""The docker library's client, with what goes wrong on the way to the engine in words for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, NotFound
from requests import PreparedRequest, RequestException, Response, Timeout
from requests.exceptions import JSONDecodeError

import docker
from popbox.errors import HostError

_STRANGE = (ValueError, LookupError, TypeError)  # what the library says of an answer that it does not understand
NO_ENGINE = "the engine cannot be asked (what answers is no engine): {}"
NO_OBJECT = re.compile(r"/(_ping|info|version|networks|volumes|(containers|images)/json)$")
LOOKED_AT = frozenset({"Id", "Name", "State", "Config", "HostConfig", "NetworkSettings"})  # of a container


class Refused(HostError):
    """The engine answered with an error: what is asked for is in use, or the engine itself fails at it."""


class Api(APIClient):
    """An engine's API. No answer, one that no engine gives, and a refusal are a HostError.

    That an object is not there stays the library's NotFound: who asks for what may have gone looks at it.
    """

    def __init__(self, base_url: str, **settings: Any) -> None:
        """``base_url`` is the address as docker writes it; ``settings`` are those of ``docker.DockerClient``."""
        self.named = base_url
        super().__init__(base_url, **settings)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """Trust the CA of the engine's own files: the library beneath prefers REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE."""
        return {**super().merge_environment_settings(*args, **kwargs), "verify": self.verify}

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Send a request.

        Raises:
            HostError: the engine does not answer within the client's time.
        """
        try:
            return super().send(request, **kwargs)
        except Timeout:
            raise HostError(f"the engine does not answer within {self.timeout:g} s: {self.named}") from None
        except RequestException as error:
            raise HostError(f"the engine does not answer ({reason(error)}): {self.named}") from error

    def _raise_for_status(self, response: Response) -> None:
        try:
            super()._raise_for_status(response)  # type: ignore[misc]  # the stubs have the public methods
        except APIError as error:
            asked = response.request.path_url.partition("?")[0]
            if isinstance(error, NotFound) and not NO_OBJECT.search(asked):
                raise
            fails = "fails at" if response.status_code >= 500 else "refuses"
            raise Refused(f"the engine {fails} {asked}: {_said(response)}") from error

    def _result(self, response: Response, json: bool = False, binary: bool = False) -> Any:
        """Every answer but those that are streamed."""
        try:
            said = super()._result(response, json, binary)  # type: ignore[misc]
        except JSONDecodeError as error:
            raise HostError(NO_ENGINE.format(self.named)) from error
        if json and not isinstance(said, (Mapping, list)):
            raise HostError(NO_ENGINE.format(self.named))
        return said

    def inspect_container(self, container: Any) -> Any:
        """What the engine knows of a container; all that a host looks at is there.

        Raises:
            HostError: it is not.
        """
        said = super().inspect_container(container)
        if not isinstance(said, Mapping) or not said.keys() >= LOOKED_AT:
            raise HostError(NO_ENGINE.format(self.named))
        return said


class Client(docker.DockerClient):
    """The library's client on such an API."""

    def __init__(self, base_url: str, **settings: Any) -> None:
        """See ``Api``.

        Raises:
            HostError: the engine does not answer, or the library refuses the settings.
        """
        try:
            self.api = Api(base_url, **settings)
        except HostError:
            raise
        except (DockerException, OSError, ValueError) as error:
            if isinstance(error.__cause__ or error, _STRANGE):
                raise HostError(NO_ENGINE.format(base_url)) from error
            raise _ours(error) or HostError(f"the engine cannot be asked ({reason(error)}): {base_url}") from error


def reason(error: BaseException) -> str:
    """What the system said at the bottom of the libraries' errors, which hold one another as arguments and reasons."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    inner = [one for one in (*error.args, getattr(error, "reason", None)) if isinstance(one, BaseException)]
    inner += [one for arg in error.args if isinstance(arg, tuple) for one in arg if isinstance(one, BaseException)]
    found = inner or [one for one in (error.__cause__, error.__context__) if one is not None]
    return reason(found[0]) if found else (str(error).splitlines() or [type(error).__name__])[0][:120]


def _ours(error: BaseException) -> HostError | None:
    """The error of ours that the library wrapped into its own."""
    cause = error.__cause__ or error.__context__
    return cause if cause is None or isinstance(cause, HostError) else _ours(cause)


def _said(answer: Response) -> str:
    try:
        told = answer.json()
    except JSONDecodeError:
        told = None
    return str(told.get("message", "") if isinstance(told, Mapping) else answer.text).strip()[:500] or answer.reason
