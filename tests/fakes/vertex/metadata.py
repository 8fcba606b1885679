"""Vertex ML Metadata, as far as experiments need it: contexts and their parents."""

import grpc
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import Context

from tests.fakes.vertex.checks import JOB_ID, Refusal, require
from tests.fakes.vertex.location import Location

COLLECTION = "metadataStores/default/contexts"


class Contexts:
    """The contexts of a project in a region, by their ids."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self.by_id: dict[str, Context] = {}

    def get(self, request: types.GetContextRequest) -> Context:
        return self.by_id[self._location.read_id(request.name, COLLECTION, self.by_id)]

    def create(self, request: types.CreateContextRequest) -> Context:
        store, _, last = request.parent.rpartition("/metadataStores/")
        self._location.check_parent(store)
        require(last == "default", f"No metadata store {last}.")
        id = request.context_id
        require(JOB_ID.fullmatch(id), f"Invalid context_id {id!r}.")
        require(request.context.schema_title, "schema_title is required.")
        if id in self.by_id:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Context {id} already exists.")
        self.by_id[id] = made = Context(request.context)
        made.name = self._location.full(f"{COLLECTION}/{id}")
        return made

    def add_children(self, request: types.AddContextChildrenRequest) -> types.AddContextChildrenResponse:
        parent = self.by_id[self._location.read_id(request.context, COLLECTION, self.by_id)]
        for child in request.child_contexts:
            found = self.by_id[self._location.read_id(child, COLLECTION, self.by_id)]
            if parent.name not in found.parent_contexts:
                found.parent_contexts.append(parent.name)
        return types.AddContextChildrenResponse()

    def enter_run(self, job: str) -> Context:
        name = self._location.full(f"{COLLECTION}/{job}")
        return self.by_id.setdefault(job, Context(name=name, schema_title="system.PipelineRun"))
