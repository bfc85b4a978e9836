"""A Label Studio server, spoken to through its SDK: a worklist pushed into a project, what was labelled there pulled out.

Here: projects, tasks, the storage that its pictures are served from, and errors as sentences. What the tasks hold is written by
`worklist_export`, what comes back is read by `formats.label_studio`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from defusedxml import ElementTree

TOKEN = "LABEL_STUDIO_API_KEY"  # nosec B105: the name of a variable, no secret
ROOT = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
_SECONDS = 60.0
_PAGE = 500


class ServerTrouble(RuntimeError):
    """The server could not be spoken to, or refused something: what, and what to do."""


@dataclass(frozen=True)
class Pushed:
    """What became of tasks.

    Attributes
    ----------
    project : int
        Its number on the server.
    n_new, n_known : int
        Tasks added, and those whose frames the project had already.
    page : str
        Where a labeller begins.
    """

    project: int
    n_new: int
    n_known: int
    page: str


class LabelStudioServer:
    """A server, by its address and the token of one of its users.

    Parameters
    ----------
    url : str
        Such as `http://127.0.0.1:8080`.
    token : str, optional
        Without it LABEL_STUDIO_API_KEY.

    Raises
    ------
    ServerTrouble
        The SDK is not installed, or there is no token.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        try:
            from label_studio_sdk import LabelStudio
        except ImportError as error:
            raise ServerTrouble(
                f"the Label Studio SDK cannot be loaded ({error}): `pip install --no-deps -r requirements-label-studio.lock` (or "
                "`enrich-assets[label-studio]`, which brings an older numpy)"
            ) from error
        token = token or os.environ.get(TOKEN)
        if not token:
            raise ServerTrouble(
                f"{TOKEN} is not set: copy a token from Label Studio (Account & Settings, Personal Access Token)"
            )
        self.url = url.rstrip("/")
        self._client = LabelStudio(base_url=self.url, api_key=token, timeout=_SECONDS)

    def push(
        self, title: str, interface: str, tasks: Sequence[dict[str, Any]], pictures: Path, project: int | None = None
    ) -> Pushed:
        """Add tasks to a project, each frame once.

        Parameters
        ----------
        title : str
            Of the project; made where there is none of this title.
        interface : str
            Of a project that is made, or whose choices are others now.
        tasks : sequence of dict
            As `worklist_export` writes them.
        pictures : Path
            The folder that the images lie in; the server must reach it (its local files).
        project : int, optional
            The number of an existing one, instead of the title.

        Raises
        ------
        ServerTrouble
        """
        with self._in_words():
            number = project if project is not None else self._project(title, interface)
            current = self._client.projects.get(number)
            if (current.label_config or "").strip() != interface.strip():
                self._client.projects.update(number, label_config=interface)
            self._serve(number, pictures)
            known = {str((task.get("data") or {}).get("frame_id")) for task in self._tasks(number, "task_only")}
            new = [task for task in tasks if task["data"]["frame_id"] not in known]
            if new:
                self._client.projects.import_tasks(number, request=cast("Any", new))
        return Pushed(number, len(new), len(tasks) - len(new), f"{self.url}/projects/{number}/data")

    def choices(self, title: str, project: int | None = None) -> list[str]:
        """What a labeller may choose from in a project, in its order; none where there is no such project, or it offers nothing.

        Parameters
        ----------
        title, project
            As of `push`.

        Raises
        ------
        ServerTrouble
        """
        with self._in_words():
            number = project if project is not None else self._number_of(title)
            config = "" if number is None else self._client.projects.get(number).label_config or ""
        try:
            interface = list(ElementTree.fromstring(config).iter())
        except ElementTree.ParseError:
            return []
        return [str(element.get("value")) for element in interface if element.tag in ("Choice", "Label")]

    def pull(self, title: str, project: int | None = None) -> tuple[int, list[dict[str, Any]]]:
        """The number of a project, and its tasks with their annotations, as its JSON export has them.

        Raises
        ------
        ServerTrouble
            Also where there is no such project.
        """
        with self._in_words():
            number = project if project is not None else self._number_of(title)
            if number is None:
                raise ServerTrouble(f"{self.url} has no project {title!r}: name it with --project NUMBER")
            return number, list(self._tasks(number, "all"))

    def _project(self, title: str, interface: str) -> int:
        number = self._number_of(title)
        if number is None:
            made: Any = self._client.projects.create(title=title, label_config=interface)
            number = int(made.id)
        return number

    def _number_of(self, title: str) -> int | None:
        projects: Any = self._client.projects.list(page_size=_PAGE)
        return {str(one.title): int(one.id) for one in projects}.get(title)

    def _serve(self, number: int, pictures: Path) -> None:
        """Let the project show the pictures: a storage of local files of their folder, once."""
        path = str(pictures.absolute())
        storages = self._client.import_storage.local.list(project=number)
        if any(str(storage.path) == path for storage in storages):
            return
        self._client.import_storage.local.create(
            project=number, path=path, title=f"enrich {pictures.name}", use_blob_urls=True, regex_filter=r".*\.png$"
        )

    def _tasks(self, number: int, fields: Any) -> Iterator[dict[str, Any]]:
        tasks: Any = self._client.tasks.list(project=number, fields=fields, page_size=_PAGE)
        for task in tasks:
            yield task.model_dump(mode="json") if hasattr(task, "model_dump") else task.dict()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        try:
            yield
        except ApiError as error:
            raise ServerTrouble(self._sentence(error)) from error
        except httpx.HTTPError as error:
            raise ServerTrouble(
                f"{self.url} does not answer ({type(error).__name__}): is Label Studio running there?"
            ) from error

    def _sentence(self, error: Any) -> str:
        status, text = error.status_code, _text(error.body)
        if status in (401, 403):
            return (
                f"{self.url} does not accept the token in {TOKEN} (status {status}): copy a current one from Account & Settings, Personal "
                "Access Token (a legacy token only where the organization still allows it)"
            )
        if status == 404:
            return f"{self.url} has no such project, or is no Label Studio (status 404)"
        if "LOCAL_FILES" in text or "local files" in text.lower() or "Path" in text:
            return (
                f"{self.url} may not show the pictures ({text}): start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
                f"and {ROOT} of a folder above them, and name that folder here with --files-root"
            )
        return f"{self.url} refused (status {status}): {text}"


def _text(body: Any) -> str:
    """What a server says of an error, on one line."""
    if isinstance(body, dict):
        parts = [body.get("detail"), body.get("validation_errors"), body.get("non_field_errors")]
        body = "; ".join(str(part) for part in parts if part) or body
    return " ".join(str(body).split())[:300]
