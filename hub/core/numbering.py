"""Numbers for a batch: drawn fast, healed from the store when the fast counters are lost, stale or away."""

from __future__ import annotations

from collections.abc import Mapping

from hub.core.errors import QueueUnavailable
from hub.core.message import SeqKey
from hub.core.ports import MessageStore, Sequencer

_TRIES = 3


class Numbering:
    """Draws consecutive ranges. The store's keys are the fence: a wrong number fails the commit, no more."""

    def __init__(self, sequencer: Sequencer, store: MessageStore) -> None:
        self._sequencer = sequencer
        self._store = store
        self.healed = 0
        """How often counters were set from the store."""

    async def draw(self, wants: Mapping[SeqKey, int]) -> dict[SeqKey, int]:
        """The first number of each range. Without the fast counters, the store's own heads are used."""
        for _ in range(_TRIES):
            try:
                first = dict(await self._sequencer.draw(wants))
                if first:
                    return first
                await self._raise_to_heads(wants)
            except QueueUnavailable:
                break
        heads = await self._store.heads(wants.keys())
        return {key: heads.get(key, 0) + 1 for key in wants}

    async def heal(self, wants: Mapping[SeqKey, int]) -> None:
        """A number of this batch was taken: bring the counters up to what is committed."""
        try:
            await self._raise_to_heads(wants)
        except QueueUnavailable:
            return

    async def give_back(self, first: Mapping[SeqKey, int], wants: Mapping[SeqKey, int]) -> None:
        """The batch was not committed: undo the draws where nobody has drawn since, to leave no gap."""
        try:
            await self._sequencer.give_back(
                {key: (start, start + wants[key] - 1) for key, start in first.items()}
            )
        except QueueUnavailable:
            return

    async def _raise_to_heads(self, keys: Mapping[SeqKey, int]) -> None:
        self.healed += len(keys)
        witness = self._sequencer.witness()
        heads = await self._store.heads(keys.keys())
        await self._sequencer.raise_to({key: heads.get(key, 0) for key in keys}, witness=witness)
