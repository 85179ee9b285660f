"""One request, one step further: its transforms first, then itself, until nothing more follows."""

from collections.abc import Mapping, Sequence

from idds.domain.collection import Collection
from idds.domain.effect import NewEffect
from idds.domain.identifiers import CollectionId, TransformId
from idds.domain.request import Request
from idds.domain.statuses import EffectKind, Intent, Relation, SourceKind, Status
from idds.domain.transform import Transform
from idds.domain.workflow import Input, Work
from idds.engine import graph
from idds.engine import processing as processing_engine
from idds.engine import request as request_engine
from idds.engine import transform as engine
from idds.engine.window import room
from idds.services.announcing import follow, tell_collection_closed, tell_request, tell_transform
from idds.services.drawing import call_off, draw
from idds.services.opening import close_window, open_input, open_output, open_window
from idds.services.placement import Placement
from idds.services.ranges import cut_missed
from idds.services.retrying import ask_again, list_on, look_through, not_taken
from idds.services.settlement import as_new, cancellation, carry_out, feed, submission
from idds.services.stopping import begin_iteration, course_of, stop
from idds.store.database import Transaction

GROUPED_AT_ONCE = 2000
CANCELLED_AT_ONCE = 10_000


class Flow:
    """A request being advanced in one transaction, which holds its lock."""

    def __init__(self, tx: Transaction, request: Request, placement: Placement) -> None:
        self._tx = tx
        self._request = request
        self._placement = placement
        self._transforms: dict[str, Transform] = {}
        self._inputs: dict[TransformId, Collection] = {}
        self._outputs: dict[TransformId, Collection] = {}

    async def advance(self) -> None:
        """Do all that can be done now."""
        if self._request.status is Status.NEW:
            await self._tx.transforms.add(self._request.id, [work.name for work in self._request.workflow.works])
        more = True
        while more:
            await self._load()
            more = await self._advance_transforms()
            more = await self._advance_request() or more

    async def _load(self) -> None:
        transforms = await self._tx.transforms.of_request(self._request.id)
        self._transforms = {transform.work: transform for transform in transforms}
        for collection in await self._tx.collections.of_request(self._request.id):
            where = self._inputs if collection.relation is Relation.INPUT else self._outputs
            where[collection.transform_id] = collection

    async def _advance_request(self) -> bool:
        """Whether a work was released that has something to do at once."""
        works = {name: transform.status for name, transform in self._transforms.items()}
        decision = request_engine.decide(self._request, request_engine.Progressed(works), self._tx.now)
        before, self._request = self._request, decision.entity
        await self._tx.requests.save(before, self._request, "progressed")
        if before.status is not self._request.status:
            await tell_request(self._tx, self._request)
        more = False
        for instruction in decision.instructions:
            transform = self._transforms[instruction.work]
            match instruction:
                case request_engine.Release(name):
                    source = self._request.workflow.work(name).input
                    again = self._inputs.get(transform.id)
                    at_once = source is not None and source.dataset is None and source.registered is None
                    # What is counted feeds its ranges from the first: they are released along with it.
                    more = more or at_once or self._feeds(name) or again is not None
                    await self._open(transform)
                    await self._decide(transform, engine.Released(again))
                case request_engine.Bar(_, reason):
                    await self._decide(transform, engine.Barred(reason))
                    more = True
        return more

    async def _advance_transforms(self) -> bool:
        """Whether an input was closed, or a source of others ended: then there may be more to do."""
        running = [t for t in self._transforms.values() if t.status is Status.RUNNING]
        alone = [t.id for t in running if t.id not in self._inputs and t.open_processings == 0]
        ends = await self._tx.processings.end_of_alone(alone) if alone else {}
        more = False
        for transform in running:
            progressed = await self._progressed(transform, ends)
            instructions = await self._decide(transform, progressed)
            more = more or (engine.CloseOutput() in instructions and self._feeds(transform.work))
            more = more or any(isinstance(each, engine.CloseInput | engine.Stop) for each in instructions)
        return more

    def _feeds(self, name: str) -> bool:
        """Whether another work takes its outputs, or the files that it counts."""
        return any(work.input is not None and work.input.feeder == name for work in self._request.workflow.works)

    async def _progressed(self, transform: Transform, ends: Mapping[TransformId, engine.End]) -> engine.Progressed:
        collection = self._inputs.get(transform.id)
        intent = self._request.intent
        if collection is None:
            return engine.Progressed(None, intent, alone=ends.get(transform.id))
        work = self._request.workflow.work(transform.work)
        if collection.source is SourceKind.SAMPLES:
            ref = ("collection", str(collection.id))
            free = room(list((await self._tx.windows.find([ref])).values()))
            samples = work.samples
            course = await course_of(self._tx, collection, samples) if samples is not None else None
            return engine.Progressed(collection, intent, room=free, course=course)
        source = work.input.feeder if work.input else None
        ended = source is not None and self._transforms[source].status.is_terminal
        barred_by = graph.barred_by(work, {name: each.status for name, each in self._transforms.items()})
        return engine.Progressed(collection, intent, source_ended=ended, barred_by=barred_by)

    async def _decide(self, transform: Transform, event: engine.TransformEvent) -> Sequence[engine.Instruction]:
        work = self._request.workflow.work(transform.work)
        decision = engine.decide(transform, work, event, self._tx.now)
        if decision.entity.status is not transform.status:
            self._tx.transforms.save(transform, decision.entity, type(event).__name__.lower())
            self._transforms[work.name] = decision.entity
            if decision.entity.status.is_terminal:
                await tell_transform(self._tx, self._request, decision.entity)
                close_window(self._tx, self._inputs.get(transform.id))
        for instruction in decision.instructions:
            await self._carry_out(decision.entity, work, instruction)
        return decision.instructions

    async def _carry_out(self, transform: Transform, work: Work, instruction: engine.Instruction) -> None:
        match instruction:
            case engine.SubmitAlone():
                await self._make_processings(transform, work, [0])
            case engine.Group():
                await self._group(transform, work)
            case engine.CloseInput(cut_off):
                await self._close(self._inputs.get(transform.id), cut_off=cut_off)
            case engine.CloseOutput():
                await self._close(self._outputs.get(transform.id))
            case engine.Stop(reason):
                await stop(self._tx, self._inputs[transform.id], reason)
            case engine.CancelContents():
                await self._cancel_contents(self._inputs.get(transform.id))
            case engine.CancelProcessings():
                await self._cancel_processings(transform, work)
            case _:
                await self._fill(self._inputs[transform.id], work, instruction)

    async def _fill(self, collection: Collection, work: Work, instruction: engine.Filling) -> None:
        """Have contents come into an input, and become available."""
        match instruction:
            case engine.List():
                effect = NewEffect(EffectKind.LIST, f"collection:{collection.id}", 0, {})
                self._tx.effects.add([effect], self._request.id)
            case engine.Ask():
                await self._ask(collection, work, instruction)
            case engine.Reopen():
                await self._reopen(collection, work)
            case engine.LookThrough():
                await self._tx.collections.note_retried(collection.id, 0)
            case engine.Retry(room):
                await look_through(self._tx, collection, room)

    async def _open(self, transform: Transform) -> None:
        """Make the collections of a transform that is released; those of one that is released again are there."""
        work = self._request.workflow.work(transform.work)
        tx = self._tx
        if transform.id in self._outputs:
            await tx.collections.reopen(self._outputs[transform.id])
        elif work.output is not None:
            output = await open_output(tx, transform, work.output, self._placement)
            self._outputs[transform.id] = await self._collection(output)
        if work.input is None:
            return
        if transform.id in self._inputs:
            await open_window(tx, self._request, self._inputs[transform.id], work.input, self._placement)
            return
        feeding = self._feeding(work.input)
        made = await self._collection(await open_input(tx, transform, work, feeding, self._placement))
        await open_window(tx, self._request, made, work.input, self._placement)
        self._inputs[transform.id] = made
        if made.source is SourceKind.OUTPUTS and feeding is not None:
            await self._feed(feeding, made)

    def _feeding(self, source: Input) -> Collection | None:
        """What feeds an input: the outputs of another work, or the files that it counts."""
        if source.feeder is None:
            return None
        feeder = self._transforms[source.feeder].id
        return self._outputs[feeder] if source.outputs is not None else self._inputs[feeder]

    async def _collection(self, collection: CollectionId) -> Collection:
        found = await self._tx.collections.get(collection)
        assert found is not None
        return found

    async def _feed(self, feeding: Collection, fed: Collection) -> None:
        """Outputs that were there before the work that takes them was released."""
        async for page in self._tx.contents.stream(feeding.id, after=0, limit=GROUPED_AT_ONCE):
            current = await self._collection(fed.id)
            if new := await not_taken(self._tx, current, page) if current.total else page:
                await follow(self._tx, [await feed(self._tx, current, [as_new(content) for content in new])])

    async def _reopen(self, collection: Collection, work: Work) -> None:
        """Have told the rest of an input that is opened again."""
        await self._tx.collections.reopen(collection)
        feeding = self._feeding(work.input) if work.input is not None else None
        match collection.source:
            case SourceKind.DATASET:
                list_on(self._tx, collection)
            case SourceKind.SAMPLES:
                await ask_again(self._tx, collection)
            case SourceKind.OUTPUTS if feeding is not None:
                await self._feed(feeding, collection)
            case SourceKind.COUNTED if feeding is not None:
                await follow(self._tx, await cut_missed(self._tx, feeding.id, collection.id))
            case _:
                pass

    async def _make_processings(self, transform: Transform, work: Work, groups: Sequence[int]) -> set[int]:
        """One of each group, or its next attempt; but where it is under way: the groups whose processings are made."""
        provider = work.provider or self._placement.provider
        made = await self._tx.processings.add(self._request.id, transform.id, provider, groups)
        effects = [submission(processing, 1) for processing in made.values()]
        if known := [group for group in groups if group not in made]:
            renewed = await self._tx.processings.retry(transform.id, provider, known)
            effects += [submission(processing.id, processing.attempt) for processing in renewed]
            made |= {processing.group_no: processing.id for processing in renewed}
        self._tx.transforms.count_processings(transform.id, len(made))
        self._tx.effects.add(effects, self._request.id)
        return set(made)

    async def _group(self, transform: Transform, work: Work) -> None:
        collection = await self._collection(self._inputs[transform.id].id)
        groups = await self._tx.contents.ready_groups(collection, GROUPED_AT_ONCE)
        if not groups:
            return
        made = await self._make_processings(transform, work, sorted(groups))
        ids = [content for group in sorted(made) for content in groups[group]]
        await self._tx.contents.lease_to_processings(collection, transform.id, ids)
        if len(ids) >= GROUPED_AT_ONCE // 2:
            self._tx.requests.mark_due([self._request.id])

    async def _ask(self, collection: Collection, work: Work, ask: engine.Ask) -> None:
        assert work.input is not None
        assert work.input.samples is not None
        of = {} if ask.iteration is None else {"iteration": ask.iteration}
        if await draw(self._tx, collection, work.input.samples, ask.count, of) and ask.iteration is not None:
            await begin_iteration(self._tx, collection, ask.iteration)

    async def _close(self, collection: Collection | None, *, cut_off: bool = False) -> None:
        if collection is not None and await self._tx.collections.close(collection, cut_off=cut_off):
            await tell_collection_closed(self._tx, collection.id)

    async def _cancel_contents(self, collection: Collection | None) -> None:
        if collection is None:
            return
        await call_off(self._tx, collection.id)
        while moves := await self._tx.contents.cancel_untaken(collection.id, CANCELLED_AT_ONCE):
            await follow(self._tx, moves)

    async def _cancel_processings(self, transform: Transform, work: Work) -> None:
        for processing in await self._tx.processings.open_of(transform.id):
            if processing.intent is Intent.CANCEL:
                continue
            await self._tx.processings.order([processing.id], Intent.CANCEL)
            entity = f"processing:{processing.id}"
            if processing.status is not Status.NEW:
                self._tx.effects.add([cancellation(processing.id, processing.attempt)], self._request.id)
            elif await self._tx.effects.drop(entity, [EffectKind.SUBMIT], untried=True):
                held = (await self._tx.contents.held_by([entity]))[entity]
                event = processing_engine.Dropped(tuple(content.id for content in held))
                decision = processing_engine.decide(processing, work.attempts, event, self._tx.now)
                await self._tx.processings.save(processing, decision.entity, "dropped")
                await carry_out(self._tx, decision)
                self._tx.transforms.count_processings(transform.id, -1)
                self._tx.requests.mark_due([self._request.id])
            else:
                # It may have been submitted with the reply lost: who submits it finds out.
                await self._tx.effects.hasten(entity, [EffectKind.SUBMIT])
