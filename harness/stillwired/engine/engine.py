"""Reading and editing forward passes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Anatomy, Place
from stillwired.checkpoints.families import check_kernel
from stillwired.clock import PASSES, spending
from stillwired.engine.batching import Batch, assemble, check_prompts, plan
from stillwired.engine.edits import Edit, changes_in, check_edit
from stillwired.engine.host_memory import keep_freed_memory
from stillwired.engine.identities import Identity, check_identities, require
from stillwired.engine.reading import Reading, check_finite
from stillwired.engine.sites import Site
from stillwired.engine.tracing import Cut, Tracing, Visit
from stillwired.errors import EngineError

if TYPE_CHECKING:
    from stillwired.engine.remote import Host

Progress = Callable[[int, int], None]
"""Called after every batch with the tokens done and the tokens in all."""


class Regime(Protocol):
    """How a model is run."""

    @property
    def device(self) -> str:
        """Torch device."""

    @property
    def dtype(self) -> str:
        """Torch dtype by name."""

    @property
    def attention(self) -> str:
        """Attention kernel by transformers' name."""


class Loaded(Protocol):
    """What an engine needs of a checkpoint."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def model(self) -> Any:
        """The transformers model, in evaluation mode."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""

    @property
    def anatomy(self) -> Anatomy:
        """Where its parts are."""

    @property
    def regime(self) -> Regime:
        """Device, dtype and attention kernel."""


class Consumer(Protocol):
    """Something that takes readings as they pass."""

    @property
    def sites(self) -> frozenset[Site]:
        """What it wants to see of every prompt."""

    def take(self, reading: Reading) -> None:
        """Take one batch. The reading may hold more sites than were asked for."""


def nothing_changed(edit: Edit, prompts: Sequence[int]) -> EngineError:
    """Say that an edit left its site as it was in some prompts."""
    return EngineError(
        f"The edit {edit} changed nothing in prompts {', '.join(map(str, prompts[:8]))}: the "
        "site is what it was. Give a value that differs, or leave these prompts out."
    )


class Engine:
    """Reads and edits the forward passes of one checkpoint.

    Building an engine checks the anatomy's identities on a short prompt. From then on the process
    keeps what memory it frees (`stillwired.engine.host_memory`).

    Args:
        checkpoint: A loaded model with its tokenizer, anatomy and regime.
        remote: Where passes run, as for `Tracing`. The checkpoint's own weights stay in use: for
            the identities, which compare the host's copy with them, and for unembedding.

    Attributes:
        checkpoint: The same.
        anatomy: The checkpoint's anatomy.
        self_check: The identities and how well they held.

    Raises:
        AnatomyError: If an identity does not hold, or the family does not run with the
            attention kernel.
        EngineError: If the model is not what the regime says, or is in training mode.
    """

    def __init__(self, checkpoint: Loaded, remote: Host | str | None = None) -> None:
        keep_freed_memory()
        self.checkpoint = checkpoint
        self.anatomy = checkpoint.anatomy
        self._model = checkpoint.model
        self._check_regime()
        self.tracing = Tracing(self._model, checkpoint.tokenizer, checkpoint.regime.device, remote)
        if remote is not None:
            from stillwired.engine.remote import check_regime_there

            check_regime_there(self.tracing, checkpoint.name, checkpoint.regime)
        family = self.anatomy.family
        self._norm = self._model.get_submodule(family.final_norm)
        self._head = self._model.get_submodule(family.unembedding)
        self.self_check: tuple[Identity, ...] = check_identities(
            self.tracing, self._model, self.anatomy, self.unembed
        )
        require(self.self_check, self.anatomy)

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        sites: Iterable[Site],
        *,
        batch_tokens: int = 4096,
        pad: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Reading]:
        """Read sites of any number of prompts, batch by batch.

        The iterator keeps no batch that it handed out; keep the tensors you need. Batches hold
        prompts of one length unless `pad` is set, longest first, so readings do not come in
        the order of the prompts: `Reading.rows` says which is which.

        Memory is one batch of what is asked for. Logits of every position are rows x
        positions x vocabulary: where few are needed, ask for ``final()`` and `unembed` those.

        Args:
            prompts: Token ids.
            sites: What to read. One pass serves them all.
            batch_tokens: Upper bound of rows x positions in a batch.
            pad: Batch prompts of different lengths, padded on the left with explicit mask
                and position ids. Positions count from the right either way.
            progress: Called after every batch with tokens done and tokens in all.

        Raises:
            EngineError: If a prompt or a site does not fit the model, a state is not finite,
                or `pad` is asked of a family in which padding changes readings.
            MissingComponentError: If a layer does not have a site's component.
        """
        return self._run(prompts, (), sites, batch_tokens, pad, progress)

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        consumers: Sequence[Consumer],
        *,
        batch_tokens: int = 4096,
        pad: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Read the union of several consumers' sites in one pass and feed them all.

        Every consumer gets every batch; only one batch is alive at a time.

        Args:
            prompts: Token ids.
            consumers: Takers, fed in this order.
            batch_tokens: As in `read`.
            pad: As in `read`.
            progress: As in `read`.

        Raises:
            EngineError: As `read`.
        """
        sites = frozenset().union(*(consumer.sites for consumer in consumers))
        readings = self.read(prompts, sites, batch_tokens=batch_tokens, pad=pad, progress=progress)
        while (reading := next(readings, None)) is not None:
            for consumer in consumers:
                consumer.take(reading)
            # The next batch is computed before the name is bound again.
            del reading

    def edit(
        self,
        prompts: Sequence[Sequence[int]],
        edits: Sequence[Edit],
        sites: Iterable[Site],
        *,
        batch_tokens: int = 4096,
        pad: bool = False,
        grad: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Reading]:
        """Read sites of prompts whose passes are edited on the way.

        Edits of one site are applied in the order given; a site that is edited is read as
        edited. Prompts that no edit names run unedited.

        Args:
            prompts: Token ids.
            edits: Changes, each with the prompts that it concerns.
            sites: What to read.
            batch_tokens: As in `read`.
            pad: As in `read`.
            grad: Let gradients flow from the readings to the edits' values.
            progress: As in `read`.

        Raises:
            EngineError: As `read`; and if an edit does not fit its site, its value is not
                finite, or a prompt's site is the same after its edits as before.
            MissingComponentError: As `read`; and if a site can be read but not edited.
        """
        if not edits:
            raise EngineError("There are no edits to apply. To only look, use `read`.")
        return self._run(prompts, edits, sites, batch_tokens, pad, progress, grad)

    @spending(PASSES)
    def final_norm(self, states: Tensor, *, grad: bool = False) -> Tensor:
        """Apply the final norm to residual states [..., width], in the model's precision.

        Args:
            states: Residual states.
            grad: Let gradients flow to the states.
        """
        with torch.set_grad_enabled(grad):
            normed: Tensor = self._norm(self._as_model(states))
        return normed

    @property
    def embeddings(self) -> Tensor:
        """The table of embeddings [vocabulary, width], as the model keeps it, without gradients."""
        table: Tensor = self._model.get_input_embeddings().weight.detach()
        return table

    @torch.no_grad()
    @spending(PASSES)
    def unembed(self, states: Tensor) -> Tensor:
        """Turn final-normed states [..., width] into logits [..., vocabulary].

        Biases and soft-capping are applied as the model applies them; the states are brought
        to the model's device and precision first. A plain call, not a traced one.
        """
        return self._capped(self._head(self._as_model(states)))

    def unembedding_of(self, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the part of the unembedding that reads some tokens.

        What it returns turns final-normed states [..., width] into logits [..., tokens] as
        `unembed` does, and lets gradients through to the states: fitting a map against a
        subset of the vocabulary costs that subset's share.

        Args:
            tokens: Token ids.
        """
        weight = self._head.weight[tokens].detach()
        bias = getattr(self._head, "bias", None)
        bias = None if bias is None else bias[tokens].detach()

        def read(states: Tensor) -> Tensor:
            return self._capped(torch.nn.functional.linear(self._as_model(states), weight, bias))

        return read

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        edits: Sequence[Edit],
        sites: Iterable[Site],
        batch_tokens: int,
        pad: bool,
        progress: Progress | None,
        grad: bool = False,
    ) -> Iterator[Reading]:
        """Check a call at once, then hand out its batches lazily."""
        wanted = self.check_call(prompts, edits, sites)
        if pad and self.anatomy.family.padding is not None:
            raise EngineError(
                f"Padded prompts of {self.anatomy.family.name} do not read as they do alone: "
                f"{self.anatomy.family.padding}. Call without `pad`: prompts of one length run "
                "together all the same."
            )
        batches = plan([len(prompt) for prompt in prompts], batch_tokens, pad=pad)
        return self._batches(prompts, batches, tuple(edits), wanted, progress, grad)

    def check_call(
        self, prompts: Sequence[Sequence[int]], edits: Sequence[Edit], sites: Iterable[Site]
    ) -> tuple[Site, ...]:
        """Check that prompts, edits and sites fit each other and the model.

        Returns:
            The sites, each once, in forward order.

        Raises:
            EngineError: As `edit`.
        """
        wanted = tuple(sorted(set(sites)))
        if not wanted:
            raise EngineError("There is nothing to read. Name at least one site.")
        check_prompts(prompts, self.anatomy.vocabulary, self.anatomy.context or sys.maxsize)
        lengths = [len(prompt) for prompt in prompts]
        for site in wanted:
            self._check_site(site, lengths, range(len(prompts)))
        for edit in edits:
            self._place(edit.site)
            self.anatomy.require_editable(edit.site.component)
            columns = self.anatomy.span(edit.site.component, edit.site.head)
            check_edit(edit, len(prompts), columns.stop - columns.start)
            rows = range(len(prompts)) if edit.rows is None else edit.rows
            self._check_site(edit.site, lengths, rows)
        return wanted

    def _batches(
        self,
        prompts: Sequence[Sequence[int]],
        batches: Sequence[tuple[int, ...]],
        edits: tuple[Edit, ...],
        sites: tuple[Site, ...],
        progress: Progress | None,
        grad: bool,
    ) -> Iterator[Reading]:
        total = sum(len(prompt) for prompt in prompts)
        done = 0
        for rows in batches:
            batch = assemble(prompts, rows)
            yield self._read_batch(batch, edits, sites, grad)
            done += sum(batch.lengths)
            if progress is not None:
                progress(done, total)

    def _read_batch(
        self, batch: Batch, edits: tuple[Edit, ...], sites: tuple[Site, ...], grad: bool
    ) -> Reading:
        inputs = dict(batch.inputs)
        asked = [site.position for site in sites if site.component == "logits"]
        if asked and None not in asked:
            # The model unembeds only as far from the right as somebody looks.
            inputs["logits_to_keep"] = max(-position for position in asked if position)
        walk = self.tracing.walk(inputs, self._visits(batch, edits, sites), batch.mask, grad=grad)
        for number, differs in walk.differs:
            self._require_change(edits[number], batch, differs)
        reading = Reading(list(batch.rows), list(batch.lengths), walk.values)
        check_finite(reading, walk.totals)
        return reading

    def _visits(
        self, batch: Batch, edits: tuple[Edit, ...], sites: tuple[Site, ...]
    ) -> list[Visit[Site]]:
        """Group sites and edits by place, in forward order."""
        numbered = [
            (number, edit, self.anatomy.span(edit.site.component, edit.site.head))
            for number, edit in enumerate(edits)
        ]
        order: dict[Place, tuple[int, ...]] = {}
        cuts: dict[Place, list[Cut[Site]]] = {}
        changed: dict[Place, list[tuple[int, Edit, slice]]] = {}
        for site in sites:
            place = self._place(site)
            order.setdefault(place, site.order)
            columns = self.anatomy.part(site.component, site.head)
            cuts.setdefault(place, []).append(Cut(site, site.position, columns))
        for entry in numbered:
            place = self._place(entry[1].site)
            order.setdefault(place, entry[1].site.order)
            changed.setdefault(place, []).append(entry)
        return [
            Visit(
                place,
                tuple(cuts.get(place, ())),
                tuple(changes_in(changed.get(place, ()), batch)),
            )
            for place in sorted(order, key=order.__getitem__)
        ]

    def _place(self, site: Site) -> Place:
        return self.anatomy.place(site.component, site.layer)

    def _check_site(self, site: Site, lengths: Sequence[int], rows: Sequence[int]) -> None:
        self._place(site)
        self.anatomy.span(site.component, site.head)
        if site.position is None:
            return
        shortest = min(rows, key=lengths.__getitem__)
        if lengths[shortest] < -site.position:
            raise EngineError(
                f"Prompt {shortest} has {lengths[shortest]} tokens, so it has no {site}. "
                "Ask for a position nearer to the right, or leave the prompt out."
            )

    def _require_change(self, edit: Edit, batch: Batch, differs: Tensor) -> None:
        named = None if edit.rows is None else set(edit.rows)
        concerned = [row for row in batch.rows if named is None or row in named]
        same = [row for row, moved in zip(concerned, differs.tolist(), strict=True) if not moved]
        if same:
            raise nothing_changed(edit, same)

    def _capped(self, logits: Tensor) -> Tensor:
        cap = self.anatomy.softcap
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _as_model(self, states: Tensor) -> Tensor:
        weight = self._head.weight
        return states.to(device=weight.device, dtype=weight.dtype)

    def _check_regime(self) -> None:
        """Refuse a model that is not run the way its regime says."""
        regime, model = self.checkpoint.regime, self._model
        if model.training:
            raise EngineError(
                f"{self.checkpoint.name} is in training mode, so dropout would change every "
                "reading. Call .eval() on the model."
            )
        check_kernel(model.config, regime.attention)
        kernel = getattr(model.config, "_attn_implementation", regime.attention)
        parameter = next(model.parameters())
        found = {
            "attention kernel": (kernel, regime.attention),
            "dtype": (str(parameter.dtype).removeprefix("torch."), regime.dtype),
            "device": (parameter.device.type, torch.device(regime.device).type),
        }
        for what, (is_, should) in found.items():
            if is_ != should:
                raise EngineError(
                    f"{self.checkpoint.name} runs with the {what} {is_}, its regime says {should}. "
                    "Load it again in the regime that is meant."
                )
